package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// what is measured of a download.
type what int

const (
	firstByte what = iota // until the first byte of the body
	whole                 // until the last
	verified              // until the last, and its digest is known
	stored                // as verified, and it lies in a file
)

// downloadTimeout bounds every download.
const downloadTimeout = 5 * time.Minute

// download times a download of a blob from a registry at host, which is the
// upstream or stands for it.
func (b *bench) download(ctx context.Context, host, dgst string, w what) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/bench/blobs/"+dgst+"?ns="+b.up.host, nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	buf := make([]byte, 256<<10)
	if _, err := io.ReadFull(resp.Body, buf[:1]); err != nil {
		return 0, err
	}
	took := time.Since(start)
	h := sha256.New()
	h.Write(buf[:1])
	to := io.Discard
	switch w {
	case verified:
		to = h
	case stored:
		f, err := os.CreateTemp(b.dir, "stored")
		if err != nil {
			return 0, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		to = io.MultiWriter(f, h)
	}
	// Without the wrappers, Copy would take another way in each case.
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{resp.Body}, buf)
	if err != nil {
		return 0, fmt.Errorf("%s breaks off after %d bytes: %w", req.URL, n+1, err)
	}
	if w != firstByte {
		took = time.Since(start)
	}
	if (w == verified || w == stored) && fmt.Sprintf("sha256:%x", h.Sum(nil)) != dgst {
		return 0, fmt.Errorf("%s sends wrong bytes", req.URL)
	}
	return took, nil
}

// do sends a request and reads the answer, which must have this status.
func do(req *http.Request, status int) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s %s: %s %s", req.Method, req.URL, resp.Status, body)
	}
	return body, nil
}
