package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	rootfs "github.com/containerd/continuity/fs"
)

// tree is the file system below root, as it was before we changed it.
type tree struct {
	root string
	base map[string][]byte // by real path; nil stands for no such file
	ours map[string]bool   // folders that we made
}

// real follows the symbolic links of a path, inside root.
func (t *tree) real(path string) (string, error) {
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

// read reads a file; ok is false if there is none.
func (t *tree) read(path string) (data []byte, ok bool, err error) {
	path, err = t.real(path)
	if err != nil {
		return nil, false, err
	}
	if data, known := t.base[path]; known {
		return data, data != nil, nil
	}
	return readFile(t.at(path))
}

// at is where a real path lies on this machine.
func (t *tree) at(path string) string { return filepath.Join(t.root, path) }

// list names what is in a folder: folders, and files.
func (t *tree) list(path string) (dirs, files []string, err error) {
	path, err = t.real(path)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(t.at(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		child, err := t.real(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		info, err := os.Stat(t.at(child))
		switch data, known := t.base[child]; {
		case err != nil || known && data == nil:
		case info.IsDir():
			if t.ours[child] {
				if d, f, err := t.list(child); err == nil && len(d)+len(f) == 0 {
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
func (t *tree) missing(dir string) []string {
	var out []string
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(t.at(dir)); err == nil {
			break
		}
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// removeDirs removes folders that are empty, the innermost first.
func (t *tree) removeDirs(dirs []string) {
	for _, d := range slices.Backward(slices.Sorted(slices.Values(dirs))) {
		_ = os.Remove(t.at(d)) // one that holds something stays
	}
}

func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// makeDirs makes the folders that are missing on the way to a real path.
func (t *tree) makeDirs(dir string) error {
	for _, d := range t.missing(dir) {
		if err := os.Mkdir(t.at(d), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(t.at(d), 0o755); err != nil { //nolint:gosec // what /etc has
			return err
		}
		if err := syncDir(filepath.Dir(t.at(d))); err != nil {
			return err
		}
	}
	return nil
}
