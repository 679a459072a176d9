package undo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ErrLeft says that files keep what was put into them, because somebody else
// has changed it since.
var ErrLeft = errors.New("not everything could be taken back")

// Uninstall takes back what was installed below root; "" stands for /. Without
// an installation it does nothing.
func Uninstall(s Subject, root string, dryRun bool) (*Result, error) {
	t, err := NewTree(root)
	if err != nil {
		return nil, err
	}
	m, err := loadManifest(t, s)
	if err != nil || m == nil {
		return &Result{}, err
	}
	r := &Result{Restart: m.Restart}
	var left []saved
	for _, f := range m.Files {
		now, err := t.now(f.Path)
		if err != nil {
			return nil, err
		}
		if now == nil {
			if f.Existed {
				r.Notes = append(r.Notes, f.Path+" was removed since it was changed, and is not brought back.")
			}
			continue
		}
		was, ok := s.Language(f.Path).without(&f, now)
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
		}
	}
	if !dryRun {
		if err := t.takeBack(s, m, r.Changes, left); err != nil {
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
func (t *Tree) takeBack(s Subject, m *manifest, changes []Change, left []saved) error {
	for _, f := range m.Files {
		if err := removeFile(scratch(t.At(f.Path))); err != nil {
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
		return m.save(t, s)
	}
	path, err := manifestPath(t, s)
	if err != nil {
		return err
	}
	for _, file := range []string{path, scratch(path)} {
		if err := removeFile(t.At(file)); err != nil {
			return err
		}
	}
	t.removeDirs(m.Dirs)
	return nil
}
