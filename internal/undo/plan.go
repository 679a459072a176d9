package undo

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Plan is what to write, made from the baseline.
type Plan struct {
	// Tree shows the baseline.
	Tree *Tree
	// Mirror is the address that is installed, without a slash at its end.
	Mirror string
	// Parts are what is installed of what can be chosen: at first those that
	// were before.
	Parts []string
	// Notes tell what the operator should know of, one sentence each.
	Notes []string
	// Restart is the command that makes changes take effect.
	Restart string

	subject Subject
	old     *manifest // nil: nothing is installed
	files   []planned
}

// planned is a file's content to be.
type planned struct {
	path   string // real
	what   string
	before []byte // in the baseline; nil: no such file
	after  Written
}

// Result is what was done, or would be.
type Result struct {
	Changes []Change
	// Notes tell what the operator should know of, one sentence each.
	Notes []string
	// Restart is the command that makes the changes take effect, "" if they
	// have it already.
	Restart string
}

// Change is that of one file.
type Change struct {
	Path          string // as the machine sees it, without symbolic links
	What          string
	Before, After []byte // nil: there is no such file
}

// Diff is a change as a unified diff.
func (c Change) Diff() string {
	from, to := "a"+c.Path, "b"+c.Path
	if c.Before == nil {
		from = "/dev/null"
	}
	if c.After == nil {
		to = "/dev/null"
	}
	return udiff.Unified(from, to, string(c.Before), string(c.After))
}

// Begin begins a plan for the machine below root; "" stands for /. mirror is an
// address such as http://127.0.0.1:65001.
func Begin(s Subject, root, mirror string) (*Plan, error) {
	if strings.Contains(mirror, "@") { // not repeated: it may hold a password
		return nil, errors.New("the mirror has a user or a password, which it never asks for: it must be an address such as http://127.0.0.1:65001")
	}
	u, err := url.Parse(mirror)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimSuffix(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(mirror, "\"\\'") {
		return nil, fmt.Errorf("mirror %q must be an address such as http://127.0.0.1:65001", mirror)
	}
	t, err := NewTree(root)
	if err != nil {
		return nil, err
	}
	old, err := loadManifest(t, s)
	if err != nil {
		return nil, err
	}
	p := &Plan{Tree: t, Mirror: strings.TrimSuffix(mirror, "/"), subject: s, old: old}
	if old != nil {
		p.Parts = slices.Clone(old.Parts)
	}
	return p, t.rebase(s, old)
}

// rebase makes t show the files as they would be without us.
func (t *Tree) rebase(s Subject, m *manifest) error {
	t.base, t.ours = map[string][]byte{}, map[string]bool{}
	if m == nil {
		return nil
	}
	for _, d := range m.Dirs {
		t.ours[d] = true
	}
	for _, f := range m.Files {
		now, err := t.now(f.Path)
		if err != nil {
			return err
		}
		l := s.Language(f.Path)
		// Where ours cannot be taken out it counts as somebody else's.
		if was, ok := l.without(&f, now); ok {
			now = was
			if len(f.Original) == 0 && l.empty(was) {
				now = nil // comments alone do not make it somebody else's file
				if f.Existed {
					now = []byte{}
				}
			}
		}
		t.base[f.Path] = now
	}
	return nil
}

// Note adds a note.
func (p *Plan) Note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// Set plans a file's content, with the hunks in it. One that was planned already,
// under another name for the same file, is not planned again, nor is one that is
// as it was.
func (p *Plan) Set(path, what string, after []byte, hunks ...Hunk) error {
	real, err := p.Tree.Real(path)
	if err != nil {
		return err
	}
	before, ok, err := p.Tree.Read(real)
	if err != nil {
		return err
	}
	if !ok {
		before = nil
	}
	if ok && bytes.Equal(before, after) || slices.ContainsFunc(p.files, func(f planned) bool { return f.path == real }) {
		return nil
	}
	p.files = append(p.files, planned{real, what, before, Written{after, hunks}})
	return nil
}

// Finish makes what was planned true, if it is not and dryRun is false.
func (p *Plan) Finish(dryRun bool) (*Result, error) {
	r := &Result{Notes: p.Notes, Restart: p.Restart}
	m := &manifest{Format: manifestFormat, Mirror: p.Mirror, Parts: p.Parts, Restart: p.Restart}
	if err := p.changes(m, r); err != nil {
		return nil, err
	}
	if dryRun || len(r.Changes) == 0 {
		return r, nil
	}
	return r, p.apply(m, r.Changes)
}

// changes fills in what differs between the plan and the disk, and the manifest
// with which all of it can be undone.
func (p *Plan) changes(m *manifest, r *Result) error {
	dirs := map[string]bool{}
	if p.old != nil {
		for _, d := range p.old.Dirs {
			dirs[d] = true
		}
	}
	state, err := manifestPath(p.Tree, p.subject)
	if err != nil {
		return err
	}
	need := []string{filepath.Dir(state)}
	change := func(path, what string, after []byte) error {
		now, err := p.Tree.now(path)
		if err != nil {
			return err
		}
		if (now == nil) != (after == nil) || !bytes.Equal(now, after) {
			r.Changes = append(r.Changes, Change{Path: path, What: what, Before: now, After: after})
		}
		return nil
	}
	for _, f := range p.files {
		need = append(need, filepath.Dir(f.path))
		if was := p.old.file(f.path); was != nil {
			now, err := p.Tree.now(f.path)
			if err != nil {
				return err
			}
			if now != nil && p.subject.Language(f.path).same(now, f.after.Text) { // others may have changed how it is written
				m.Files = append(m.Files, *was)
				continue
			}
		}
		s := saved{Path: f.path, Existed: f.before != nil, Original: f.before, Versions: []Written{f.after}}
		if was := p.old.file(f.path); was != nil {
			s.Versions = append(s.Versions, was.Versions...)
		}
		m.Files = append(m.Files, s)
		if err := change(f.path, f.what, f.after.Text); err != nil {
			return err
		}
	}
	if p.old != nil {
		for _, was := range p.old.Files {
			if m.file(was.Path) != nil {
				continue
			}
			base := p.Tree.base[was.Path]
			m.Files = append(m.Files, saved{
				Path: was.Path, Existed: base != nil, Original: base,
				Versions: append([]Written{{Text: base}}, was.Versions...),
			})
			if err := change(was.Path, "given back as it was", base); err != nil {
				return err
			}
		}
	}
	for _, dir := range need {
		for _, d := range p.Tree.missing(dir) {
			dirs[d] = true
		}
	}
	m.Dirs = slices.Sorted(maps.Keys(dirs))
	return nil
}

// apply makes changes, with the manifest on disk before the first.
func (p *Plan) apply(m *manifest, changes []Change) error {
	if err := m.save(p.Tree, p.subject); err != nil {
		return fmt.Errorf("manifest of what is there now: %w; nothing was changed", err)
	}
	for _, c := range changes {
		if err := c.make(p.Tree); err != nil {
			return fmt.Errorf("%s: %w; run this again to complete it, or shoal uninstall %s to undo it", c.Path, err, p.subject.Name)
		}
	}
	// What was replaced is not needed any more.
	m.Files = slices.DeleteFunc(m.Files, func(f saved) bool { return bytes.Equal(f.Versions[0].Text, f.Original) })
	for i := range m.Files {
		m.Files[i].Versions = m.Files[i].Versions[:1]
	}
	return m.save(p.Tree, p.subject)
}

// BeforeChange is called before each change of a file, with the path of its next
// content and its own, for tests that stop half-way.
var BeforeChange func(scratch string)

// make makes the change.
func (c Change) make(t *Tree) error {
	at := t.At(c.Path)
	if err := t.makeDirs(filepath.Dir(c.Path)); err != nil {
		return err
	}
	if BeforeChange != nil {
		BeforeChange(scratch(at))
	}
	if c.After == nil {
		return removeFile(at)
	}
	return writeFile(at, c.After, 0o644)
}
