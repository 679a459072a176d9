package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
)

// upstream is a registry of blobs in files, and of a manifest in memory.
type upstream struct {
	dir    string
	host   string
	server *http.Server
	blobs  map[int64]string // by size
	image  *image
}

func startUpstream(dir string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{dir: filepath.Join(dir, "upstream"), host: l.Addr().String(), blobs: map[int64]string{}}
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return nil, err
	}
	if u.image, err = newImage(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+u.image.path(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Content-Length", strconv.Itoa(len(u.image.manifest)))
		w.Header().Set("Docker-Content-Digest", path.Base(u.image.path()))
		_, _ = w.Write(u.image.manifest)
	})
	mux.HandleFunc("GET /v2/bench/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, r, filepath.Join(u.dir, path.Base(r.PathValue("digest"))))
	})
	u.server = &http.Server{Handler: mux}
	go func() { _ = u.server.Serve(l) }()
	return u, nil
}

func (u *upstream) close() { _ = u.server.Close() }

// blob returns the blob of a size. It lies on disk long before it is measured.
func (u *upstream) blob(size int64) (digest string, err error) {
	if digest, ok := u.blobs[size]; ok {
		return digest, nil
	}
	f, err := os.CreateTemp(u.dir, "new")
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	key := sha256.Sum256(fmt.Append(nil, size))
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8(key), size); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
	u.blobs[size] = digest
	return digest, os.Rename(f.Name(), filepath.Join(u.dir, digest))
}
