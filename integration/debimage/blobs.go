package debimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobs is the folder with a layout's blobs.
type blobs struct{ dir string }

// writeJSON adds a config, a manifest or an index.
func (b blobs) writeJSON(mediaType string, content any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return desc, os.WriteFile(filepath.Join(b.dir, desc.Digest.Encoded()), data, 0o644)
}

// writeLayer compresses a tar into a blob, and returns its diff ID too.
func (b blobs) writeLayer(mediaType string, write func(io.Writer) error) (desc ocispec.Descriptor, diffID digest.Digest, err error) {
	f, err := os.CreateTemp(b.dir, ".layer-")
	if err != nil {
		return desc, "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	blob, diff := newCounted(), newCounted()
	z, err := compressor(mediaType, io.MultiWriter(f, blob))
	if err != nil {
		return desc, "", err
	}
	if err := errors.Join(write(io.MultiWriter(z, diff)), z.Close()); err != nil {
		return desc, "", err
	}
	desc = ocispec.Descriptor{MediaType: mediaType, Digest: blob.Digest(), Size: blob.size}
	if err := f.Chmod(0o644); err != nil {
		return desc, "", err
	}
	return desc, diff.Digest(), os.Rename(f.Name(), filepath.Join(b.dir, desc.Digest.Encoded()))
}

func compressor(mediaType string, w io.Writer) (io.WriteCloser, error) {
	switch mediaType {
	case gzipLayer:
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	case zstdLayer:
		// One thread: with more, the output depends on their timing.
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return nil, fmt.Errorf("layers of type %s are not known", mediaType)
}
