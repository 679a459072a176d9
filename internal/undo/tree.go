package undo

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	rootfs "github.com/containerd/continuity/fs"
)

// Tree is the file system below a root, as it was before we changed it.
type Tree struct {
	root string
	base map[string][]byte // by real path; nil stands for no such file
	ours map[string]bool   // folders that we made
}

// NewTree is the file system below root as it is; "" stands for /.
func NewTree(root string) (*Tree, error) {
	root, err := filepath.Abs(cmp.Or(root, "/"))
	return &Tree{root: root}, err
}

// Root is the directory that stands for /.
func (t *Tree) Root() string { return t.root }

// Exists reports whether there is something at a path that we did not make.
func (t *Tree) Exists(path string) bool {
	real, err := t.Real(path)
	if err != nil || t.ours[real] {
		return false
	}
	if data, known := t.base[real]; known {
		return data != nil
	}
	_, err = os.Stat(t.At(real))
	return err == nil
}

// Real follows the symbolic links of a path, inside root.
func (t *Tree) Real(path string) (string, error) {
	at, err := rootfs.RootPath(t.root, path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	rel, err := filepath.Rel(t.root, at)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return filepath.Join("/", rel), nil
}

// Read reads a file; ok is false if there is none.
func (t *Tree) Read(path string) (data []byte, ok bool, err error) {
	path, err = t.Real(path)
	if err != nil {
		return nil, false, err
	}
	if data, known := t.base[path]; known {
		return data, data != nil, nil
	}
	return readFile(t.At(path))
}

// At is where a real path lies on this machine.
func (t *Tree) At(path string) string { return filepath.Join(t.root, path) }

// List names what is in a folder: folders, and files.
func (t *Tree) List(path string) (dirs, files []string, err error) {
	path, err = t.Real(path)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(t.At(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		child, err := t.Real(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		info, err := os.Stat(t.At(child))
		switch data, known := t.base[child]; {
		case err != nil || known && data == nil:
		case info.IsDir():
			if t.ours[child] {
				if d, f, err := t.List(child); err == nil && len(d)+len(f) == 0 {
					continue
				}
			}
			dirs = append(dirs, e.Name())
		default:
			files = append(files, e.Name())
		}
	}
	return dirs, files, nil
}

// now is what a file, by its real path, holds at the moment; nil if there is none.
func (t *Tree) now(real string) ([]byte, error) {
	data, ok, err := readFile(t.At(real))
	if !ok {
		return nil, err
	}
	return data, nil
}

// readFile reads a file; ok is false if there is none.
func readFile(path string) (data []byte, ok bool, err error) {
	data, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if data == nil {
		data = []byte{}
	}
	return data, err == nil, err
}

// scratch is the name under which the next content of a file is written. It is
// the same each time, so that one left by a crash is found again.
func scratch(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".shoal-new")
}

// writeFile replaces or makes a file as a whole. One that exists keeps its mode
// and owner.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	tmp := scratch(path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(tmp) // gone by now if all went well
	}()
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
	}
	if err := f.Chmod(mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeFile removes a file for good; one that is not there is fine.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// missing are the folders on the way to a real path that do not exist, the
// outermost first.
func (t *Tree) missing(dir string) []string {
	var out []string
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(t.At(dir)); err == nil {
			break
		}
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// removeDirs removes folders that are empty, the innermost first.
func (t *Tree) removeDirs(dirs []string) {
	for _, d := range slices.Backward(slices.Sorted(slices.Values(dirs))) {
		_ = os.Remove(t.At(d)) // one that holds something stays
	}
}

// makeDirs makes the folders that are missing on the way to a real path.
func (t *Tree) makeDirs(dir string) error {
	for _, d := range t.missing(dir) {
		if err := os.Mkdir(t.At(d), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(t.At(d), 0o755); err != nil { //nolint:gosec // what /etc has
			return err
		}
		if err := syncDir(filepath.Dir(t.At(d))); err != nil {
			return err
		}
	}
	return nil
}
