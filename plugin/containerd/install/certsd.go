package install

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/shoal-p2p/shoal/internal/undo"
)

const defaultDir = "_default"

// hosts plans the hosts.toml of the folders of config_path.
func (p *plan) hosts(folders []string) error {
	found := make([][]string, len(folders)) // the folders of registries in each
	for i, f := range folders {
		var err error
		if found[i], _, err = p.Tree.List(f); err != nil {
			return fmt.Errorf("config_path %s: %w", f, err)
		}
	}
	if p.wants("") {
		return p.allRegistries(folders, found)
	}
	for _, r := range p.Parts {
		if err := p.registry(r, folders, found); err != nil {
			return err
		}
	}
	return nil
}

// allRegistries puts the mirror into _default, and into the folders of
// registries, for which containerd does not look at _default.
func (p *plan) allRegistries(folders []string, found [][]string) error {
	// containerd takes the first folder that has the registry or a _default: a
	// new _default must not hide registries in the folders behind it.
	at := slices.IndexFunc(found, func(names []string) bool { return slices.Contains(names, defaultDir) })
	for i := len(folders) - 1; i >= 0 && at < 0; i-- {
		if len(found[i]) > 0 || i == 0 {
			at = i
		}
	}
	if err := p.hostsIn(filepath.Join(folders[at], defaultDir), "all registries come through the mirror"); err != nil {
		return err
	}
	for i, f := range folders {
		for _, name := range found[i] {
			if name == defaultDir {
				continue
			}
			if err := p.hostsIn(filepath.Join(f, name), "the mirror comes first; _default does not hold for this registry"); err != nil {
				return err
			}
		}
	}
	return nil
}

// registry puts the mirror into the folder of one registry.
func (p *plan) registry(registry string, folders []string, found [][]string) error {
	what := registry + " comes through the mirror"
	for i, f := range folders {
		for _, name := range foldersOf(registry) {
			if slices.Contains(found[i], name) {
				return p.hostsIn(filepath.Join(f, name), what)
			}
		}
		if slices.Contains(found[i], defaultDir) {
			return p.copyDefault(filepath.Join(f, registry), filepath.Join(f, defaultDir), what)
		}
	}
	return p.hostsIn(filepath.Join(folders[0], registry), what)
}

// hostsIn puts the mirror into a folder's hosts.toml, and makes it if needed.
func (p *plan) hostsIn(dir, what string) error {
	path := filepath.Join(dir, "hosts.toml")
	text, ok, err := p.Tree.Read(path)
	if err != nil {
		return err
	}
	if ok && len(text) > 0 {
		out, hunks, err := addHost(text, p.Mirror)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(hunks) == 0 {
			p.Note("%s names the mirror already and is left as it is.", path)
		} else if tree, err := decodeTOML(text); err == nil && tree["host"] == nil && p.needsHost != "" {
			p.Note("%s had no [host] table, without which %s does not read it: what it says holds from now on.", path, p.needsHost)
		}
		return p.Set(path, what, out, hunks...)
	}
	// An empty hosts.toml is none to containerd.
	_, files, err := p.Tree.List(dir)
	if err != nil {
		return err
	}
	return p.newHosts(path, what, ofCertificates("", files))
}

// copyDefault makes a hosts.toml for a registry that has got by with _default:
// what that says must still hold for it.
func (p *plan) copyDefault(dir, from, what string) error {
	text, ok, err := p.Tree.Read(filepath.Join(from, "hosts.toml"))
	if err != nil {
		return err
	}
	if ok && len(text) > 0 {
		if err := movable(text); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(from, "hosts.toml"), err)
		}
	} else {
		_, files, err := p.Tree.List(from)
		if err != nil {
			return err
		}
		text = ofCertificates(from, files)
	}
	return p.newHosts(filepath.Join(dir, "hosts.toml"), what+"; the rest is as in "+defaultDir, text)
}

// newHosts makes a hosts.toml of a text and the mirror.
func (p *plan) newHosts(path, what string, text []byte) error {
	out, hunks, err := addHost(text, p.Mirror)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > 0 {
		hunks = append([]undo.Hunk{{New: string(text), Mark: string(text)}}, hunks...)
	}
	return p.Set(path, what, out, hunks...)
}
