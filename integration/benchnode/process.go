package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// group is processes that run, in a directory of their own, until stop.
type group struct {
	dir string
	all []*exec.Cmd
}

func (b *bench) group() (*group, error) {
	dir, err := os.MkdirTemp(b.dir, "run")
	return &group{dir: dir}, err
}

// stop kills them, for nothing here is worth a grace.
func (g *group) stop() {
	for _, cmd := range g.all {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	_ = os.RemoveAll(g.dir)
}

// start runs a program until stop, or the end of ctx.
func (g *group) start(ctx context.Context, program string, args ...string) (pid int, err error) {
	out, err := os.Create(filepath.Join(g.dir, fmt.Sprintf("%d.log", len(g.all))))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	g.all = append(g.all, cmd)
	return cmd.Process.Pid, nil
}

// await waits until url answers with a body that is good.
func (g *group) await(ctx context.Context, url string, good func(body []byte) bool) error {
	err := context.DeadlineExceeded
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * ms) {
		var body []byte
		if body, err = get(ctx, url); err == nil && good(body) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s is not ready: %w\n%s", url, err, g.said())
}

// said is what the processes wrote.
func (g *group) said() []byte {
	logs, _ := filepath.Glob(filepath.Join(g.dir, "*.log"))
	var all [][]byte
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		if text = bytes.TrimSpace(text); len(text) > 0 {
			all = append(all, text)
		}
	}
	return bytes.Join(all, []byte("\n"))
}

// get reads something small.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(req, http.StatusOK)
}
