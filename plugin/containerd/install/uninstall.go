package install

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrLeft says that files keep what was put into them, because somebody else
// has changed it since.
var ErrLeft = errors.New("not everything could be taken back")

// Uninstall takes back what Install did below root. Without an installation it
// does nothing.
func Uninstall(root string, dryRun bool) (*Result, error) {
	o := Options{Root: root, Mirror: "http://none"}
	if err := o.complete(); err != nil {
		return nil, err
	}
	t := &tree{root: o.Root}
	m, err := loadManifest(t)
	if err != nil || m == nil {
		return &Result{}, err
	}
	r := &Result{}
	var left []saved
	for _, f := range m.Files {
		now, ok, err := readFile(t.at(f.Path))
		if err != nil {
			return nil, err
		}
		if !ok {
			if f.Existed {
				r.Notes = append(r.Notes, f.Path+" was removed since it was changed, and is not brought back.")
			}
			continue
		}
		was, ok := f.without(now)
		if !ok {
			left = append(left, f)
			continue
		}
		if was == nil || !bytes.Equal(was, now) {
			what := "as it was"
			if f.Existed && !bytes.Equal(was, f.Original) || !f.Existed && was != nil {
				what = "without the mirror; it was changed since, and keeps that"
			} else if was == nil {
				what = "removed"
			}
			r.Changes = append(r.Changes, Change{Path: f.Path, What: what, Before: now, After: was})
			if filepath.Base(f.Path) != "hosts.toml" {
				r.Restart = m.Restart
			}
		}
	}
	if !dryRun {
		if err := t.takeBack(m, r.Changes, left); err != nil {
			return r, err
		}
	}
	if len(left) > 0 {
		paths := make([]string, len(left))
		for i, f := range left {
			paths[i] = f.Path
		}
		return r, fmt.Errorf("%w: %s was changed where the mirror is named: take %s out by hand, then uninstall again", ErrLeft, strings.Join(paths, ", "), m.Mirror)
	}
	return r, nil
}

// takeBack makes changes, and forgets what is undone.
func (t *tree) takeBack(m *manifest, changes []Change, left []saved) error {
	for _, f := range m.Files {
		if err := removeFile(scratch(t.at(f.Path))); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := c.make(t); err != nil {
			return fmt.Errorf("%s: %w; run this again to complete it", c.Path, err)
		}
	}
	if len(left) > 0 {
		m.Files = left
		t.removeDirs(m.Dirs)
		return m.save(t)
	}
	path, err := manifestPath(t)
	if err != nil {
		return err
	}
	for _, file := range []string{path, scratch(path)} {
		if err := removeFile(t.at(file)); err != nil {
			return err
		}
	}
	t.removeDirs(m.Dirs)
	return nil
}
