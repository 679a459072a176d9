package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// sourceHost is where the files are.
const (
	sourcePort = 8080
	sourceHost = "10.77.0.2:8080"
)

// source serves one file under any name: each name is a file of its own.
type source struct {
	data []byte
	sent atomic.Int64
}

func newSource(c *testbed.Cluster, size int64) (*source, error) {
	s := &source{data: make([]byte, size)}
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, size))).Read(s.data) // never fails
	return s, c.Serve(sourcePort, s, nil)
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"`+path.Base(r.URL.Path)+`"`)
	http.ServeContent(counted{w, s}, r, "", time.Time{}, bytes.NewReader(s.data))
}

type counted struct {
	http.ResponseWriter
	s *source
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.s.sent.Add(int64(n))
	return n, err
}

func urlOf(name string) string { return "http://" + sourceHost + "/" + name }

// check compares a download with the file, and removes it.
func (s *source) check(file string) error {
	got, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, s.data) {
		return fmt.Errorf("%s has other bytes than its source", file)
	}
	return os.Remove(file)
}

// plain downloads straight from the source into a file, and hashes nothing.
func plain(ctx context.Context, n *testbed.Node, name, file string) (time.Duration, error) {
	start := time.Now()
	resp, err := n.AskHost(ctx, http.MethodGet, sourceHost, "/"+name, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := io.Copy(f, resp.Body); err != nil {
		return 0, err
	}
	return time.Since(start), f.Close()
}

// download is what a client did.
type download struct {
	took    time.Duration
	cpu     time.Duration
	written int64 // bytes for the disk
}

// runClient runs a program that downloads.
func runClient(cmd *exec.Cmd) (d download, err error) {
	start := time.Now()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return d, fmt.Errorf("%v: %w: %s", cmd.Args, err, said.Bytes())
	}
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return d, fmt.Errorf("%v: the system does not tell what it used", cmd.Args)
	}
	return download{
		took:    time.Since(start),
		cpu:     cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		written: used.Oublock * 512,
	}, nil
}
