package debimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// tree writes packages into layers, and remembers what the lower layers hold.
type tree struct {
	written map[string]bool
	masters map[string][]byte // of /etc/passwd and /etc/group
}

func newTree() *tree {
	return &tree{written: map[string]bool{}, masters: map[string][]byte{}}
}

// Of the merged /usr, which the package usrmerge makes on a real system.
var merged = []string{"bin", "lib", "lib64", "sbin"}

// begin writes what no package holds.
func (t *tree) begin(w *tar.Writer) error {
	for _, dir := range merged {
		t.written[dir] = true
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: dir, Linkname: "usr/" + dir, Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}

// add writes a package's files that are not there yet.
func (t *tree) add(ctx context.Context, w *tar.Writer, deb string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			cancel()
			_ = cmd.Wait() // killed: the first error says why
			err = fmt.Errorf("%s: %w", path.Base(deb), err)
		}
	}()
	files := tar.NewReader(out)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := t.copyFile(w, h, files); err != nil {
			return err
		}
	}
	// dpkg-deb ends only when all of its padding is read.
	if _, err := io.Copy(io.Discard, out); err != nil {
		return err
	}
	return cmd.Wait()
}

func (t *tree) copyFile(w *tar.Writer, h *tar.Header, content io.Reader) error {
	name := usrMerged(h.Name)
	if name == "." || t.written[name] {
		return nil
	}
	t.written[name] = true
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode,
		Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeDir:
		out.Name += "/"
	case tar.TypeLink:
		out.Linkname = usrMerged(h.Linkname)
	}
	if err := w.WriteHeader(out); err != nil {
		return err
	}
	if base, ok := strings.CutPrefix(name, "usr/share/base-passwd/"); ok && h.Typeflag == tar.TypeReg {
		data, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		t.masters[base] = data
		_, err = w.Write(data)
		return err
	}
	_, err := io.Copy(w, content)
	return err
}

// users writes /etc/passwd and /etc/group, as base-passwd's script would.
func (t *tree) users(w *tar.Writer) error {
	for _, name := range []string{"passwd", "group"} {
		data, ok := t.masters[name+".master"]
		if !ok {
			return fmt.Errorf("the package base-passwd has no %s.master", name)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "etc/" + name, Mode: 0o644, Size: int64(len(data))}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// usrMerged is where a package's file lies on a system with a merged /usr, as a
// clean path without a leading slash.
func usrMerged(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	first, _, _ := strings.Cut(name, "/")
	for _, dir := range merged {
		if first == dir {
			return "usr/" + name
		}
	}
	if name == "" {
		return "."
	}
	return name
}
