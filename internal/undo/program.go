package undo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"time"
)

// Output is what a program of the machine says, within 10 s. path is where it is
// on this machine; if it is "", it is looked for below root.
func (t *Tree) Output(ctx context.Context, name, path string, args ...string) (string, error) {
	paths := []string{path}
	if path == "" {
		paths = nil
		if t.root == "/" {
			paths = append(paths, name)
		}
		for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/opt/bin"} {
			paths = append(paths, filepath.Join(t.root, dir, name))
		}
	}
	failed := fmt.Errorf("no %s was found", name)
	for _, p := range paths {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, err := exec.CommandContext(ctx, p, args...).Output() //nolint:gosec // the operator's
		cancel()
		if err == nil {
			return string(out), nil
		}
		if path != "" || !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	return "", failed
}
