package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// Reading is what a containerd makes of its configuration when it pulls.
type Reading struct {
	// Config is containerd's config.toml, which may not exist.
	Config string
	// Changed is when one of its files was last written, zero if there is none.
	// containerd has read them at its start.
	Changed time.Time
	// CRI is whether Kubernetes can pull with this containerd. Where it is
	// false, Folders is what nerdctl reads, and ctr if told to.
	CRI bool
	// ConfigPath is the setting, that of containerd's defaults included.
	ConfigPath string
	// Folders are those of ConfigPath that are looked at for a registry, in
	// order. There are none if ConfigPath is empty, or is a list and this
	// containerd ignores lists.
	Folders []string
	// Discards names the file that sets discard_unpacked_layers, "" if it is
	// off.
	Discards string

	tree      *undo.Tree
	needsHost bool // a hosts.toml without a [host] table is not read
}

// Look reads the configuration of a containerd of the given version. root stands
// for /; hosts, if not empty, are the folders to look at whatever it says.
func Look(root, config, version string, hosts []string) (*Reading, error) {
	v, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	t, err := undo.NewTree(root)
	if err != nil {
		return nil, err
	}
	s, err := readSettings(t, config, v)
	if err != nil {
		return nil, err
	}
	r := &Reading{Config: config, CRI: !s.disabled(), Discards: s.discards(), tree: t, needsHost: v.major < 2}
	for _, f := range s.files {
		if info, err := os.Stat(t.At(f.path)); err == nil && info.ModTime().After(r.Changed) {
			r.Changed = info.ModTime()
		}
	}
	r.ConfigPath, _ = s.configPath()
	switch {
	case !r.CRI:
		r.ConfigPath = certsDir
	case r.ConfigPath == "" && v.major >= 2:
		r.ConfigPath = default2
	}
	r.Folders = slices.DeleteFunc(filepath.SplitList(r.ConfigPath), func(f string) bool { return f == "" })
	if r.CRI && len(r.Folders) > 1 && !s.pullsLocally() {
		r.Folders = nil
	}
	if len(hosts) > 0 {
		r.Folders = hosts
	}
	return r, nil
}

// discards names the file that has CRI throw layers away once they are
// unpacked.
func (s *settings) discards() (file string) {
	for _, f := range s.effective() {
		t := table(f.tree, f.cri()...)
		if f.version < 3 {
			t = table(t, "containerd")
		}
		if on, ok := t["discard_unpacked_layers"].(bool); ok && on {
			file = f.path
		} else if ok {
			file = ""
		}
	}
	return file
}

// Hosts is where containerd looks for the images of a registry, from the first
// on.
type Hosts struct {
	// Registry is that of the folder, "_default" for all that have none.
	Registry string
	// Dir is the folder; "" if there is none, so that containerd asks the
	// registry alone.
	Dir string
	// Hosts come before the registry itself.
	Hosts []Host
	// Server is asked last, the registry itself if it is "".
	Server string
	// Ignored is why hosts.toml is not read, "" if it is, or if there is none.
	Ignored string
}

// Host is one host of a hosts.toml.
type Host struct {
	URL string
	// Lacks is which of pull and resolve it is not used for.
	Lacks []string
}

// All are the folders of registries, _default among them.
func (r *Reading) All() ([]Hosts, error) {
	var out []Hosts
	seen := map[string]bool{}
	for _, f := range r.Folders {
		names, _, err := r.tree.List(f)
		if err != nil {
			return nil, fmt.Errorf("config_path %s: %w", f, err)
		}
		hidden := seen[defaultDir] // a _default hides what lies in the folders behind it
		for _, name := range names {
			if hidden || seen[name] {
				continue
			}
			seen[name] = true
			h, err := r.read(name, filepath.Join(f, name))
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
	}
	return out, nil
}

// Of is where containerd looks for the images of one registry.
func (r *Reading) Of(registry string) (Hosts, error) {
	for _, f := range r.Folders {
		names, _, err := r.tree.List(f)
		if err != nil {
			return Hosts{}, fmt.Errorf("config_path %s: %w", f, err)
		}
		for _, name := range append(foldersOf(registry), defaultDir) {
			if slices.Contains(names, name) {
				return r.read(registry, filepath.Join(f, name))
			}
		}
	}
	return Hosts{Registry: registry}, nil
}

// Dir is where a folder lies for this process.
func (r *Reading) Dir(h Hosts) (string, error) {
	real, err := r.tree.Real(h.Dir)
	return r.tree.At(real), err
}

// foldersOf are the names that a registry's folder may have, in the order in
// which containerd looks for them.
func foldersOf(registry string) []string {
	if i := strings.LastIndexByte(registry, ':'); i > 0 {
		return []string{registry[:i] + "_" + registry[i+1:] + "_", registry}
	}
	return []string{registry}
}

func (r *Reading) read(registry, dir string) (Hosts, error) {
	h := Hosts{Registry: registry, Dir: dir}
	text, ok, err := r.tree.Read(filepath.Join(dir, "hosts.toml"))
	if err != nil || !ok || len(text) == 0 {
		return h, err
	}
	tree, err := decodeTOML(text)
	if err != nil {
		h.Ignored = err.Error()
		return h, nil
	}
	if r.needsHost && tree["host"] == nil {
		h.Ignored = "this containerd reads none without a [host] table"
		return h, nil
	}
	h.Server, _ = tree["server"].(string)
	for _, x := range expressions(text) {
		if !x.table || len(x.key) < 2 || x.key[0] != "host" || slices.ContainsFunc(h.Hosts, func(o Host) bool { return o.URL == x.key[1] }) {
			continue
		}
		host := Host{URL: x.key[1]}
		if can, ok := lookup(tree, "host", host.URL, "capabilities").([]any); ok && len(can) > 0 {
			for _, c := range []string{"pull", "resolve"} {
				if !slices.Contains(can, any(c)) {
					host.Lacks = append(host.Lacks, c)
				}
			}
		}
		h.Hosts = append(h.Hosts, host)
	}
	return h, nil
}
