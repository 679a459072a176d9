package install

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/shoal-p2p/shoal/resolver"
)

// Options say what to install, and where.
type Options struct {
	// Root stands for /. "" means /.
	Root string
	// Mirror is the address of the mirror, such as http://127.0.0.1:65001.
	Mirror string
	// Registries are those whose images come through the mirror. None means all.
	Registries []string
	// Distribution is containerd, k3s or rke2. "" means whichever is there.
	Distribution string
	// Config is containerd's config.toml. "" means /etc/containerd/config.toml.
	Config string
	// Version is containerd's. "" means to ask Binary, and that "" means to
	// look for one below Root.
	Version, Binary string
	// DryRun changes nothing.
	DryRun bool
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

// Install makes containerd pull through the mirror.
func Install(ctx context.Context, o Options) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	t := &tree{root: o.Root}
	old, err := loadManifest(t)
	if err != nil {
		return nil, err
	}
	if err := t.rebase(old); err != nil {
		return nil, err
	}
	p := &plan{tree: t, mirror: o.Mirror, registries: o.registries(old)}
	if err := p.make(ctx, o); err != nil {
		return nil, err
	}
	r := &Result{Notes: p.notes}
	m := &manifest{Format: manifestFormat, Mirror: o.Mirror, Registries: p.registries, Restart: p.restart}
	if old != nil {
		m.Dirs = old.Dirs
	}
	if err := p.changes(old, m, r); err != nil {
		return nil, err
	}
	if o.DryRun || len(r.Changes) == 0 {
		return r, nil
	}
	return r, apply(t, m, r.Changes)
}

// apply makes changes, with the manifest on disk before the first.
func apply(t *tree, m *manifest, changes []Change) error {
	if err := m.save(t); err != nil {
		return fmt.Errorf("manifest of what is there now: %w; nothing was changed", err)
	}
	for _, c := range changes {
		if err := c.make(t); err != nil {
			return fmt.Errorf("%s: %w; run this again to complete it, or shoal uninstall containerd to undo it", c.Path, err)
		}
	}
	// What was replaced is not needed any more.
	m.Files = slices.DeleteFunc(m.Files, func(f saved) bool { return len(f.Versions[0].Hunks) == 0 })
	for i := range m.Files {
		m.Files[i].Versions = m.Files[i].Versions[:1]
	}
	return m.save(t)
}

// beforeChange is for tests that stop half-way.
var beforeChange func(path string)

// make makes the change.
func (c Change) make(t *tree) error {
	if err := t.makeDirs(filepath.Dir(c.Path)); err != nil {
		return err
	}
	if beforeChange != nil {
		beforeChange(t.at(c.Path))
	}
	if c.After == nil {
		return removeFile(t.at(c.Path))
	}
	return writeFile(t.at(c.Path), c.After, 0o644)
}

// rebase makes t show the files as they would be without us.
func (t *tree) rebase(m *manifest) error {
	t.base, t.ours = map[string][]byte{}, map[string]bool{}
	if m == nil {
		return nil
	}
	for _, d := range m.Dirs {
		t.ours[d] = true
	}
	for _, f := range m.Files {
		now, ok, err := readFile(t.at(f.Path))
		if err != nil {
			return err
		}
		if !ok {
			now = nil
		}
		// Where ours cannot be taken out it counts as somebody else's.
		if was, ok := f.without(now); ok {
			now = was
			if len(f.Original) == 0 && f.empty(was) {
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

// without is a file's content without what was put into it, nil if there is no
// such file then. ok is false if that cannot be told apart any more.
func (f *saved) without(now []byte) (was []byte, ok bool) {
	if now == nil {
		return nil, true
	}
	if f.Existed && bytes.Equal(now, f.Original) {
		return now, true
	}
	for _, v := range f.Versions {
		if bytes.Equal(now, v.Text) {
			if !f.Existed {
				return nil, true
			}
			return append([]byte{}, f.Original...), true
		}
	}
	for _, v := range f.Versions {
		switch out, found := takeOut(now, v.Hunks); {
		case !found:
			return nil, false
		case bytes.Equal(out, now): // nothing of this version is there
		case !f.parses(out):
			return nil, false
		case !f.Existed && blank(out):
			return nil, true
		default:
			return out, true
		}
	}
	return now, true
}

// decoder is that of a file's language.
func decoder(path string) func([]byte) (map[string]any, error) {
	if filepath.Ext(path) == ".yaml" {
		return decodeYAML
	}
	return decodeTOML
}

func (f *saved) parses(text []byte) bool {
	_, err := decoder(f.Path)(text)
	return err == nil
}

// empty reports whether a text says nothing.
func (f *saved) empty(text []byte) bool {
	tree, err := decoder(f.Path)(text)
	return err == nil && len(tree) == 0
}

func (o *Options) complete() error {
	if o.Root == "" {
		o.Root = "/"
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return err
	}
	o.Root = root
	o.Registries = slices.Clone(o.Registries)
	if o.Config == "" {
		o.Config = "/etc/containerd/config.toml"
	}
	u, err := url.Parse(o.Mirror)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimSuffix(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(o.Mirror, "\"\\'") {
		return fmt.Errorf("mirror %q must be an address such as http://127.0.0.1:65001", o.Mirror)
	}
	o.Mirror = strings.TrimSuffix(o.Mirror, "/")
	for i, r := range o.Registries {
		if u, err := url.Parse("http://" + r); err != nil || u.Host != r || u.Hostname() == "" || strings.ContainsAny(r, "*\"\\'_") {
			return fmt.Errorf("registry %q must be host[:port] as in the names of images, without scheme or path", r)
		}
		o.Registries[i] = resolver.Canonical(r)
	}
	return nil
}

// registries are those asked for, with those installed before.
func (o *Options) registries(old *manifest) []string {
	all := slices.Clone(o.Registries)
	if len(all) == 0 {
		all = []string{""}
	}
	if old != nil {
		all = append(all, old.Registries...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
