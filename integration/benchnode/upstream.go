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
)

// upstream is a registry of blobs in files.
type upstream struct {
	dir    string
	host   string
	server *http.Server
	seed   uint64
}

func startUpstream(dir string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{dir: filepath.Join(dir, "upstream"), host: l.Addr().String()}
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/bench/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, r, filepath.Join(u.dir, path.Base(r.PathValue("digest"))))
	})
	u.server = &http.Server{Handler: mux}
	go func() { _ = u.server.Serve(l) }()
	return u, nil
}

func (u *upstream) close() { _ = u.server.Close() }

// blob makes a blob that nobody has seen.
func (u *upstream) blob(size int64) (digest string, err error) {
	u.seed++
	key := [32]byte{byte(u.seed), byte(u.seed >> 8), byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}
	f, err := os.CreateTemp(u.dir, "new")
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8(key), size); err != nil {
		return "", err
	}
	digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
	return digest, os.Rename(f.Name(), filepath.Join(u.dir, digest))
}

func (u *upstream) remove(digest string) { _ = os.Remove(filepath.Join(u.dir, digest)) }
