package contentdir

import (
	"context"
	// Algorithms of digests that may name a blob.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// BlobPath is where a committed blob, or file, lies below root. What is neither
// a digest nor the ID of a file gets errdefs.ErrInvalidArgument.
func BlobPath(root string, dgst digest.Digest) (string, error) {
	if err := piece.ValidateID(dgst); err != nil {
		return "", fmt.Errorf("store: blob %q: %w: %w", dgst, err, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(root, "blobs", dgst.Algorithm().String(), dgst.Encoded()), nil
}

// IngestPath is the directory of the ingest with reference ref below root.
func IngestPath(root, ref string) string {
	return filepath.Join(root, "ingest", digest.SHA256.FromString(ref).Encoded())
}

// Blob is a committed blob, open for reading. Its methods may be called
// concurrently.
type Blob struct {
	file *os.File
	size int64
}

// Open opens a committed blob below root. One that is not there gets
// errdefs.ErrNotFound.
func Open(root string, dgst digest.Digest) (*Blob, error) {
	path, err := BlobPath(root, dgst)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store %s: blob %s: %w", root, dgst, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: blob %s: %w", root, dgst, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a plain file")
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("store %s: blob %s: %w", root, dgst, err)
	}
	return &Blob{file: file, size: info.Size()}, nil
}

// ReadAt reads as [os.File.ReadAt] does.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }

// Size is in bytes.
func (b *Blob) Size() int64 { return b.size }

// File is the blob's own file, open until Close.
func (b *Blob) File() *os.File { return b.file }

// Close closes the file.
func (b *Blob) Close() error { return b.file.Close() }

// Walk calls fn for every committed blob below root until fn returns an error
// or ctx ends. Blobs that vanish meanwhile are left out, and so is whatever
// else lies there. A root without blobs has none.
func Walk(ctx context.Context, root string, fn func(dgst digest.Digest, info fs.FileInfo) error) error {
	algorithms, err := readDir(filepath.Join(root, "blobs"))
	if err != nil {
		return fmt.Errorf("store %s: %w", root, err)
	}
	for _, a := range algorithms {
		alg := digest.Algorithm(a.Name())
		if !a.IsDir() || alg != piece.File && !alg.Available() {
			continue
		}
		blobs, err := readDir(filepath.Join(root, "blobs", a.Name()))
		if err != nil {
			return fmt.Errorf("store %s: %w", root, err)
		}
		for _, b := range blobs {
			if err := ctx.Err(); err != nil {
				return err
			}
			dgst := digest.NewDigestFromEncoded(alg, b.Name())
			if piece.ValidateID(dgst) != nil || !b.Type().IsRegular() {
				continue
			}
			info, err := b.Info()
			if err != nil {
				continue
			}
			if err := fn(dgst, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDir lists a directory; one that is not there is empty.
func readDir(path string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
