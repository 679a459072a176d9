package install

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
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
type Result = undo.Result

// Install makes containerd pull through the mirror.
func Install(ctx context.Context, o Options) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	all, err := undo.Begin(subject, o.Root, o.Mirror)
	if err != nil {
		return nil, err
	}
	all.Parts = o.registries(all.Parts)
	p := &plan{Plan: all}
	if err := p.make(ctx, o); err != nil {
		return nil, err
	}
	r, err := p.Finish(o.DryRun)
	return withoutRestart(r), err
}

// Uninstall takes back what Install did below root; "" stands for /. Without an
// installation it does nothing.
func Uninstall(root string, dryRun bool) (*Result, error) {
	r, err := undo.Uninstall(subject, root, dryRun)
	return withoutRestart(r), err
}

// withoutRestart leaves the restart out if all that changes is read at each pull.
func withoutRestart(r *Result) *Result {
	if r != nil && !slices.ContainsFunc(r.Changes, func(c undo.Change) bool { return filepath.Base(c.Path) != "hosts.toml" }) {
		r.Restart = ""
	}
	return r
}

// subject is what the files mean: TOML, where the order of tables is that of
// hosts, and YAML.
var subject = undo.Subject{Name: "containerd", Language: func(path string) undo.Language {
	if filepath.Ext(path) == ".yaml" {
		return undo.Language{Decode: decodeYAML}
	}
	return undo.Language{Decode: decodeTOML, Order: tables}
}}

// tables are those of a document, in its order.
func tables(text []byte) (keys [][]string) {
	for _, e := range expressions(text) {
		if e.table {
			keys = append(keys, e.key)
		}
	}
	return keys
}

func (o *Options) complete() error {
	o.Registries = slices.Clone(o.Registries)
	if o.Config == "" {
		o.Config = "/etc/containerd/config.toml"
	}
	for i, r := range o.Registries {
		if u, err := url.Parse("http://" + r); err != nil || u.Host != r || u.Hostname() == "" || strings.ContainsAny(r, "*\"\\'_") {
			return fmt.Errorf("registry %q must be host[:port] as in the names of images, without scheme or path", r)
		}
		o.Registries[i] = resolver.Canonical(r)
	}
	return nil
}

// registries are those asked for, with those installed before.
func (o *Options) registries(old []string) []string {
	all := slices.Concat(o.Registries, old)
	if len(o.Registries) == 0 {
		all = append(all, "")
	}
	slices.Sort(all)
	return slices.Compact(all)
}
