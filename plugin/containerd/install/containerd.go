package install

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

const (
	certsDir   = "/etc/containerd/certs.d"
	default2   = certsDir + ":/etc/docker/certs.d" // of 2.x
	dropInName = "shoal.toml"
)

// containerd plans config_path, and the hosts.toml below it.
func (p *plan) containerd(ctx context.Context, o Options) error {
	v, err := findVersion(ctx, p.Tree, o)
	if err != nil {
		return err
	}
	s, err := readSettings(p.Tree, o.Config, v)
	if err != nil {
		return err
	}
	p.Restart = "systemctl restart containerd"
	if v.major < 2 {
		p.needsHost = fmt.Sprintf("containerd %d.%d", v.major, v.minor)
	}
	if s.disabled() {
		p.Note("CRI is disabled in %s: Kubernetes does not pull with this containerd, and ctr needs --hosts-dir %s.", o.Config, certsDir)
		return p.hosts([]string{certsDir})
	}
	if err := s.refuse(); err != nil {
		return err
	}
	value, from := s.configPath()
	set := value
	if set == "" && v.major >= 2 {
		value = default2
	} else if set == "" {
		value = certsDir
	}
	folders := slices.DeleteFunc(filepath.SplitList(value), func(f string) bool { return f == "" })
	for _, f := range folders {
		if !filepath.IsAbs(f) {
			return fmt.Errorf("containerd's config %s has config_path %q: its folders must be whole paths", from.path, value)
		}
	}
	if len(folders) > 1 && !s.pullsLocally() {
		if err := p.dropFolders(v, folders); err != nil {
			return err
		}
		folders = folders[:1]
	}
	if want := strings.Join(folders, ":"); want != set && (set != "" || want != default2) {
		if err := p.configPath(o.Config, s, from, want); err != nil {
			return err
		}
	}
	return p.hosts(folders)
}

// dropFolders tells of the folders that the transfer service does not read.
func (p *plan) dropFolders(v version, folders []string) error {
	for _, f := range folders[1:] {
		names, _, err := p.Tree.List(f)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			p.Note("%s is not read: containerd %d.%d takes one folder, and ignored both. Move what is to hold to %s.", f, v.major, v.minor, folders[0])
		}
	}
	return nil
}

// refuse tells of settings that containerd does not start with, or that would
// cease to hold, beside config_path.
func (s *settings) refuse() error {
	const move = "write them as hosts.toml files below %s, take the tables out, and install again; see https://github.com/containerd/containerd/blob/main/docs/hosts.md"
	if file := s.with("mirrors", ""); file != "" {
		return fmt.Errorf("containerd's config %s has registry.mirrors, which containerd refuses beside config_path: "+move, file, certsDir)
	}
	if file := s.with("configs", "tls"); file != "" && s.version.major < 2 {
		return fmt.Errorf("containerd's config %s has registry.configs with tls, which containerd refuses beside config_path: "+move, file, certsDir)
	}
	return nil
}

// configPath plans the file that sets config_path: the one that does already,
// else a file of our own where config.toml imports a folder, else config.toml.
func (p *plan) configPath(main string, s *settings, from *configFile, value string) error {
	const what = "config_path names the folder of the hosts.toml files"
	if from == nil || from.path == s.files[0].path {
		dir := s.dropIns()
		if _, taken, err := p.Tree.Read(filepath.Join(dir, dropInName)); err != nil {
			return err
		} else if dir != "" && !taken {
			text := fmt.Sprintf("# Put here by shoal install containerd.\nversion = 3\n\n%s\n  config_path = %s\n", header(append(slices.Clone(images), "registry")), quote(value))
			return p.Set(filepath.Join(dir, dropInName), what, []byte(text), undo.Hunk{New: text, Mark: quote(value)})
		}
	}
	file := configFile{path: main, version: 2}
	if s.version.major >= 2 {
		file.version = 3
	}
	fresh := file.version
	if len(s.files) > 0 {
		if file = s.effective()[0]; from != nil {
			file = *from
		}
		if len(file.tree) == 0 {
			file.version = fresh
		}
	}
	out, hunks, err := setConfigPath(file.text, fresh, append(slices.Clone(file.cri()), "registry"), value)
	if err != nil {
		return fmt.Errorf("containerd's config %s: %w", file.path, err)
	}
	return p.Set(file.path, what, out, hunks...)
}

// dropIns is a folder all of whose files config.toml imports, "" if there is
// none. In 1.x a file there would replace all that config.toml says of CRI.
func (s *settings) dropIns() string {
	if s.version.major < 2 || len(s.files) == 0 {
		return ""
	}
	for _, pattern := range imports(s.files[0]) {
		dir, name := filepath.Split(pattern)
		if ok, err := filepath.Match(name, dropInName); err == nil && ok && strings.Contains(name, "*") && !strings.ContainsAny(dir, "*?[\\") {
			return dir
		}
	}
	return ""
}
