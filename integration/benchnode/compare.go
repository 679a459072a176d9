package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// what is measured of a download.
type what int

const (
	firstByte what = iota // until the first byte of the body
	whole                 // until the last
	verified              // until the last, and its digest is known; a mirror has verified it
	stored                // as verified, and it lies in a file; a mirror has stored it
)

// comparison downloads the same blobs directly and through Shoal.
type comparison struct {
	up       *upstream
	binary   string
	dir      string
	topology string
	runs     int
}

// result of a measurement. alsoStored is a direct download into a file; it is
// taken where the digest is.
type result struct{ direct, alsoStored, shoal time.Duration }

// measure returns medians.
func (c *comparison) measure(ctx context.Context, size int64, w what) (result, error) {
	var direct, alsoStored, shoal []time.Duration
	for range c.runs {
		r, err := c.once(ctx, size, w)
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", c.topology, err)
		}
		direct, alsoStored, shoal = append(direct, r.direct), append(alsoStored, r.alsoStored), append(shoal, r.shoal)
	}
	return result{median(direct), median(alsoStored), median(shoal)}, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// once starts Shoal afresh, warms it up with another blob, and takes both times.
func (c *comparison) once(ctx context.Context, size int64, w what) (result, error) {
	var r result
	dgst, err := c.up.blob(size)
	if err != nil {
		return r, err
	}
	other, err := c.up.blob(4096)
	if err != nil {
		return r, err
	}
	p, err := c.start(ctx)
	if err != nil {
		return r, err
	}
	defer p.stop()
	path := "/v2/bench/blobs/" + dgst
	warm := "/v2/bench/blobs/" + other
	if _, err := c.download(ctx, "http://"+p.mirror+warm+"?ns="+c.up.host, other, whole); err != nil {
		return r, err
	}
	if _, err := c.download(ctx, "http://"+c.up.host+warm, other, whole); err != nil {
		return r, err
	}
	if r.direct, err = c.download(ctx, "http://"+c.up.host+path, dgst, w); err != nil {
		return r, err
	}
	if w == verified {
		if r.alsoStored, err = c.download(ctx, "http://"+c.up.host+path, dgst, stored); err != nil {
			return r, err
		}
	}
	through := w
	if w == verified { // the mirror has verified what it sends
		through = whole
	}
	r.shoal, err = c.download(ctx, "http://"+p.mirror+path+"?ns="+c.up.host, dgst, through)
	return r, err
}

func (c *comparison) download(ctx context.Context, url, dgst string, w what) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		return 0, fmt.Errorf("%s answers %s", url, resp.Status)
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
		f, err := os.CreateTemp(c.dir, "stored")
		if err != nil {
			return 0, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		to = io.MultiWriter(f, h)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{resp.Body}, buf)
	if err != nil {
		return 0, fmt.Errorf("%s breaks off after %d bytes: %w", url, n+1, err)
	}
	if w != firstByte {
		took = time.Since(start)
	}
	if (w == verified || w == stored) && fmt.Sprintf("sha256:%x", h.Sum(nil)) != dgst {
		return 0, fmt.Errorf("%s sends wrong bytes", url)
	}
	return took, nil
}

// processes are what serves the mirror.
type processes struct {
	mirror string
	all    []*exec.Cmd
	dir    string
}

func (p *processes) stop() {
	for _, cmd := range p.all {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	_ = os.RemoveAll(p.dir)
}

func (c *comparison) start(ctx context.Context) (*processes, error) {
	dir, err := os.MkdirTemp(c.dir, "run")
	if err != nil {
		return nil, err
	}
	port, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	p := &processes{mirror: port[0], dir: dir}
	common := []string{"--plain-http", c.up.host, "--log-level", "error", "--data-dir"}
	agent := append([]string{"agent", "--mirror-listen", port[0], "--peer-listen", port[1], "--admin-listen", port[2]}, append(common, filepath.Join(dir, "agent"))...)
	super := append([]string{"supernode", "--listen", port[3]}, append(common, filepath.Join(dir, "supernode"))...)
	up := append([]string{"up", "--mirror-listen", port[0], "--admin-listen", port[2], "--listen", port[3]}, append(common, filepath.Join(dir, "up"))...)
	commands := map[string][][]string{
		"agent alone": {agent},
		"agent that stores nothing": {append(slices.Clone(agent), "--store-kind", "containerd",
			"--containerd-content-path", dir, "--containerd-address", filepath.Join(dir, "none.sock"))},
		"shoal up":            {up},
		"agent and supernode": {super, append(slices.Clone(agent), "--supernodes", port[3])},
	}[c.topology]
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, c.binary, args...)
		cmd.Stderr = nil
		if err := cmd.Start(); err != nil {
			p.stop()
			return nil, err
		}
		p.all = append(p.all, cmd)
	}
	return p, c.awaitReady(ctx, port[2])
}

// awaitReady waits until the agent serves, and has found its supernode.
func (c *comparison) awaitReady(ctx context.Context, admin string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * ms) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/api/v1/status", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && !strings.Contains(string(body), `"connected":false`) {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready", c.topology)
}

func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
