// Package undotest tests what installs something by package undo, with folders of
// testdata that hold the files of a machine:
//
//	args       what to install, a line each: a name and its value. "mkdir PATH" makes
//	           a folder, which git would not keep
//	before/    the machine as it is
//	after/     as it is to be, by -update
//	output     what is to be said, by -update
package undotest

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Scenario is a folder of testdata.
type Scenario struct {
	Name string
	// Args are names and values.
	Args [][2]string

	dir   string
	mkdir []string
}

// Scenarios are all of them.
func Scenarios(t *testing.T) []Scenario {
	t.Helper()
	files, err := filepath.Glob("testdata/*/args")
	require.NoError(t, err)
	require.Greater(t, len(files), 9)
	var all []Scenario
	for _, file := range files {
		s := Scenario{dir: filepath.Dir(file)}
		s.Name = filepath.Base(s.dir)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name == "mkdir" {
				s.mkdir = append(s.mkdir, value)
			} else {
				s.Args = append(s.Args, [2]string{name, value})
			}
		}
		all = append(all, s)
	}
	return all
}

// Start is a fresh copy of the tree before, with modes and owners that a new
// file would not have.
func (s Scenario) Start(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if _, err := os.Stat(filepath.Join(s.dir, "before")); err == nil {
		CopyTree(t, filepath.Join(s.dir, "before"), root)
	}
	for _, d := range s.mkdir {
		require.NoError(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 || path == root {
			return err
		}
		if os.Geteuid() == 0 {
			require.NoError(t, os.Lchown(path, 1234, 5678))
		}
		if d.IsDir() {
			return os.Chmod(path, 0o750)
		}
		return os.Chmod(path, 0o640)
	}))
	return root
}

// CopyTree copies folders, files and symbolic links.
func CopyTree(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(from, path)
		require.NoError(t, err)
		at := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(at, 0o755)
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			require.NoError(t, err)
			return os.Symlink(target, at)
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return os.WriteFile(at, data, 0o644)
	}))
}

const state = "var/lib/shoal"

// Snapshot is all of a tree: what kind, mode, owner and bytes each path has.
// Without metadata it is what a golden tree can hold.
func Snapshot(t *testing.T, root string, metadata bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(root, path)
		require.NoError(t, err)
		if !metadata && d.IsDir() {
			if rel == state {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Lstat(path)
		require.NoError(t, err)
		text := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			text, err = os.Readlink(path)
			text = "-> " + text
		case !info.IsDir():
			var data []byte
			data, err = os.ReadFile(path)
			text = string(data)
		}
		require.NoError(t, err)
		if metadata && rel != "." {
			st := info.Sys().(*syscall.Stat_t)
			text = fmt.Sprintf("%v %d:%d %s", info.Mode(), st.Uid, st.Gid, text)
		}
		out[rel] = text
		return nil
	}))
	return out
}

// story is what a command says.
func story(r *undo.Result, err error) string {
	var out strings.Builder
	if err != nil {
		fmt.Fprintf(&out, "error: %v\n", err)
		return out.String()
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&out, "%s: %s\n", c.Path, c.What)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&out, "note:", n)
	}
	fmt.Fprintln(&out, "restart:", r.Restart)
	return out.String()
}

// Step installs or uninstalls.
type Step func(root string, dryRun bool) (*undo.Result, error)

// GivesBackEveryByte installs, compares with the golden files, and uninstalls.
func (s Scenario) GivesBackEveryByte(t *testing.T, install, uninstall Step) {
	root := s.Start(t)
	before := Snapshot(t, root, true)

	planned, dryErr := install(root, true)
	require.Equal(t, before, Snapshot(t, root, true), "a dry run changes nothing")

	r, err := install(root, false)
	require.Equal(t, story(planned, dryErr), story(r, err))
	s.golden(t, root, story(r, err))
	if err != nil {
		require.Equal(t, before, Snapshot(t, root, true), "a refusal changes nothing")
		return
	}

	installed := Snapshot(t, root, true)
	again, err := install(root, false)
	require.NoError(t, err)
	require.Empty(t, again.Changes)
	require.Equal(t, installed, Snapshot(t, root, true), "installing again changes nothing")

	_, err = uninstall(root, false)
	require.NoError(t, err)
	require.Equal(t, before, Snapshot(t, root, true))
	none, err := uninstall(root, false)
	require.NoError(t, err)
	require.Empty(t, none.Changes)
}

func (s Scenario) golden(t *testing.T, root, said string) {
	t.Helper()
	after, output := filepath.Join(s.dir, "after"), filepath.Join(s.dir, "output")
	got := Snapshot(t, root, false)
	if *update {
		require.NoError(t, os.RemoveAll(after))
		require.NoError(t, os.MkdirAll(after, 0o755))
		CopyTree(t, root, after)
		require.NoError(t, os.RemoveAll(filepath.Join(after, state)))
		_ = os.Remove(filepath.Join(after, "var/lib"))
		_ = os.Remove(filepath.Join(after, "var"))
		require.NoError(t, os.WriteFile(output, []byte(said), 0o644))
	}
	want := map[string]string{}
	if _, err := os.Stat(after); err == nil {
		want = Snapshot(t, after, false)
	}
	require.Equal(t, want, got)
	text, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, string(text), said)
}

// Stop runs a step that ends as by a crash before its n-th change, counted from 0,
// with the file of the next content half written.
func Stop(t *testing.T, n int, step func()) {
	t.Helper()
	const stopped = "stopped"
	defer func() {
		undo.BeforeChange = nil
		require.Equal(t, stopped, recover())
	}()
	undo.BeforeChange = func(scratch string) {
		if n == 0 {
			require.NoError(t, os.WriteFile(scratch, []byte("half"), 0o600))
			panic(stopped)
		}
		n--
	}
	step()
}
