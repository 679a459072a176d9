package install

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
)

// plan is what to write, made from the baseline.
type plan struct {
	tree       *tree
	mirror     string
	registries []string // "" stands for all
	files      []planned
	notes      []string
	restart    string // if a file with a restart changes

	// needsHost is a containerd, 1.x, that reads no hosts.toml without a host.
	needsHost string
}

// planned is a file's content to be.
type planned struct {
	path    string // real
	what    string
	before  []byte // in the baseline; nil: no such file
	after   []byte
	hunks   []hunk
	restart bool // containerd reads it at its start only
}

func (p *plan) make(ctx context.Context, o Options) error {
	distribution, err := p.distribution(o.Distribution)
	if err != nil {
		return err
	}
	if distribution == "containerd" {
		return p.containerd(ctx, o)
	}
	return p.rancher(distribution)
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// wants reports whether a registry is to come through the mirror; "" asks for
// all of them.
func (p *plan) wants(registry string) bool { return slices.Contains(p.registries, registry) }

// set plans a file's content. One that was planned already, under another name
// for the same file, is not planned again.
func (p *plan) set(path, what string, after []byte, hunks []hunk, restart bool) error {
	real, err := p.tree.real(path)
	if err != nil {
		return err
	}
	before, ok, err := p.tree.read(real)
	if err != nil {
		return err
	}
	if !ok {
		before = nil
	}
	if len(hunks) == 0 || slices.ContainsFunc(p.files, func(f planned) bool { return f.path == real }) {
		return nil
	}
	p.files = append(p.files, planned{real, what, before, after, hunks, restart})
	return nil
}

// changes fills in what differs between the plan and the disk, and the manifest
// with which all of it can be undone.
func (p *plan) changes(old, m *manifest, r *Result) error {
	dirs := map[string]bool{}
	for _, d := range m.Dirs {
		dirs[d] = true
	}
	state, err := manifestPath(p.tree)
	if err != nil {
		return err
	}
	need := []string{filepath.Dir(state)}
	change := func(path, what string, after []byte, restart bool) error {
		now, ok, err := readFile(p.tree.at(path))
		if err != nil {
			return err
		}
		if !ok {
			now = nil
		}
		if ok == (after != nil) && bytes.Equal(now, after) {
			return nil
		}
		r.Changes = append(r.Changes, Change{Path: path, What: what, Before: now, After: after})
		if restart {
			r.Restart = p.restart
		}
		return nil
	}
	for _, f := range p.files {
		need = append(need, filepath.Dir(f.path))
		if was := old.file(f.path); was != nil {
			now, ok, err := readFile(p.tree.at(f.path))
			if err != nil {
				return err
			}
			if ok && sameMeaning(f.path, now, f.after) { // others may have changed how it is written
				m.Files = append(m.Files, *was)
				continue
			}
		}
		s := saved{Path: f.path, Existed: f.before != nil, Original: f.before, Versions: []written{{f.after, f.hunks}}}
		if was := old.file(f.path); was != nil {
			s.Versions = append(s.Versions, was.Versions...)
		}
		m.Files = append(m.Files, s)
		if err := change(f.path, f.what, f.after, f.restart); err != nil {
			return err
		}
	}
	if old != nil {
		for _, was := range old.Files {
			if m.file(was.Path) != nil {
				continue
			}
			base := p.tree.base[was.Path]
			m.Files = append(m.Files, saved{
				Path: was.Path, Existed: base != nil, Original: base,
				Versions: append([]written{{Text: base}}, was.Versions...),
			})
			if err := change(was.Path, "given back as it was", base, p.restartsFor(was.Path)); err != nil {
				return err
			}
		}
	}
	for _, dir := range need {
		for _, d := range p.tree.missing(dir) {
			dirs[d] = true
		}
	}
	m.Dirs = slices.Sorted(maps.Keys(dirs))
	return nil
}

// sameMeaning reports whether two texts of a file say the same, hosts in the same
// order.
func sameMeaning(path string, a, b []byte) bool {
	decode := decoder(path)
	x, err := decode(a)
	if err != nil {
		return false
	}
	y, err := decode(b)
	if err != nil || !reflect.DeepEqual(x, y) {
		return false
	}
	if filepath.Ext(path) == ".yaml" {
		return true
	}
	tables := func(text []byte) (keys [][]string) {
		for _, e := range expressions(text) {
			if e.table {
				keys = append(keys, e.key)
			}
		}
		return keys
	}
	return reflect.DeepEqual(tables(a), tables(b))
}

// restartsFor tells what is read at each pull from what is read once.
func (p *plan) restartsFor(path string) bool { return filepath.Base(path) != "hosts.toml" }
