package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// owned matches the names of what a cluster makes; they hold its process ID.
var owned = regexp.MustCompile(`^shoal(\d+)-`)

// orphan reports whether a name is that of something whose process is gone.
func orphan(name string) bool {
	m := owned.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	_, err := os.Stat("/proc/" + m[1])
	return errors.Is(err, os.ErrNotExist)
}

// sweep removes what killed runs left: processes in their namespaces, mounts,
// folders, and the namespaces.
func sweep(ctx context.Context) error {
	spaces, err := os.ReadDir("/var/run/netns")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, ns := range spaces {
		if orphan(ns.Name()) {
			errs = append(errs, killIn(ns.Name()), ip(ctx, "netns", "del", ns.Name()))
		}
	}
	dirs, err := os.ReadDir(os.TempDir())
	errs = append(errs, err)
	for _, d := range dirs {
		if orphan(d.Name()) {
			dir := filepath.Join(os.TempDir(), d.Name())
			errs = append(errs, unmount(ctx, dir), os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// killIn ends the processes in a namespace.
func killIn(netns string) error {
	want, err := os.Stat(filepath.Join("/var/run/netns", netns))
	if err != nil {
		return err
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if got, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && os.SameFile(want, got) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}

// unmount removes the mounts below a folder, the last one first.
func unmount(ctx context.Context, dir string) error {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			err = errors.Join(err, tool(ctx, "umount", "-l", fields[1]))
		}
	}
	return err
}
