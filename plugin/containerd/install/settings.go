package install

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// The tables of containerd's image pulls, by the version of the file.
var (
	cri1   = []string{"plugins", "cri"}
	cri2   = []string{"plugins", "io.containerd.grpc.v1.cri"}
	images = []string{"plugins", "io.containerd.cri.v1.images"}
)

// configFile is config.toml, or a file that it imports.
type configFile struct {
	path    string
	text    []byte
	tree    map[string]any
	version int
}

// settings are containerd's, of all its files together.
type settings struct {
	version version // containerd's
	files   []configFile
}

// readSettings reads config.toml and what it imports, in containerd's order.
// Without a config.toml there are no files.
func readSettings(t *undo.Tree, path string, v version) (*settings, error) {
	s := &settings{version: v}
	seen := map[string]bool{}
	for pending := []string{path}; len(pending) > 0; pending = pending[1:] {
		path, err := t.Real(pending[0])
		if err != nil {
			return nil, err
		}
		text, ok, err := t.Read(path)
		if err != nil {
			return nil, err
		}
		if !ok || seen[path] {
			continue
		}
		seen[path] = true
		tree, err := decodeTOML(text)
		if err != nil {
			return nil, fmt.Errorf("containerd's config %s: %w", path, err)
		}
		f := configFile{path: path, text: text, tree: tree}
		if n, ok := tree["version"].(int64); ok {
			f.version = int(n)
		} else if len(s.files) > 0 && v.major < 2 {
			f.version = s.files[0].version // one version holds for all of them
		}
		s.files = append(s.files, f)
		for _, pattern := range imports(f) {
			matches, err := filepath.Glob(t.At(pattern))
			if err != nil {
				return nil, fmt.Errorf("containerd's config %s imports %q: %w", path, pattern, err)
			}
			for _, m := range matches {
				pending = append(pending, strings.TrimPrefix(m, strings.TrimSuffix(t.Root(), "/")))
			}
		}
	}
	return s, nil
}

// imports are the patterns of a file, as whole paths.
func imports(f configFile) []string {
	var out []string
	list, _ := f.tree["imports"].([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			if !filepath.IsAbs(s) {
				s = filepath.Join(filepath.Dir(f.path), s)
			}
			out = append(out, filepath.Clean(s))
		}
	}
	return out
}

// cri is the table of image pulls in a file.
func (f configFile) cri() []string {
	switch {
	case f.version >= 3:
		return images
	case f.version == 2:
		return cri2
	}
	return cri1
}

func (f configFile) registry() map[string]any { return table(f.tree, append(f.cri(), "registry")...) }

// effective are the files whose tables hold: in 1.x a file's table replaces
// that of the files before it.
func (s *settings) effective() []configFile {
	if s.version.major < 2 {
		for _, f := range slices.Backward(s.files) {
			if table(f.tree, f.cri()...) != nil {
				return []configFile{f}
			}
		}
	}
	return s.files
}

// configPath is what config_path says, and the file that says it last.
func (s *settings) configPath() (value string, from *configFile) {
	for _, f := range s.effective() {
		if v, _ := f.registry()["config_path"].(string); v != "" {
			value, from = v, &f
		}
	}
	return value, from
}

// disabled reports whether containerd runs without CRI.
func (s *settings) disabled() bool {
	for _, f := range s.files {
		list, _ := f.tree["disabled_plugins"].([]any)
		for _, name := range []string{"cri", cri2[1], images[1]} {
			if slices.Contains(list, any(name)) {
				return true
			}
		}
	}
	return false
}

// with names the file that has a table of the given name in registry, if it is
// not empty and, for a key, one of its tables has that.
func (s *settings) with(name, key string) string {
	for _, f := range s.effective() {
		entries, _ := f.registry()[name].(map[string]any)
		for e := range entries {
			if key == "" || lookup(entries, e, key) != nil {
				return f.path
			}
		}
	}
	return ""
}

// pullsLocally reports whether CRI of containerd 2.1 and later pulls by itself
// instead of through the transfer service: because it is told to, or because
// something is set that the transfer service does not do.
func (s *settings) pullsLocally() bool {
	if !s.version.atLeast(2, 1) || s.with("configs", "") != "" || s.with("auths", "") != "" {
		return true
	}
	for _, f := range s.files {
		t := table(f.tree, f.cri()...)
		n, limited := t["max_concurrent_downloads"].(int64)
		inner := t
		if f.version < 3 {
			inner = table(t, "containerd")
		}
		if limited && n != 3 || t["use_local_image_pull"] == true || t["image_pull_with_sync_fs"] == true ||
			inner["discard_unpacked_layers"] == true || inner["disable_snapshot_annotations"] == false {
			return true
		}
	}
	return false
}
