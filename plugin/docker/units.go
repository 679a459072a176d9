package docker

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

const (
	dropIns    = "/etc/systemd/system/docker.service.d"
	dropInName = "shoal-proxy.conf"
)

// unit is a file that says how dockerd is started.
type unit struct {
	path  string
	lines []string // without comments
}

// units are those that are there: of systemd, and the files of environment
// variables that come with Debian's and Red Hat's packages.
type units []unit

var environments = []string{"/etc/default/docker", "/etc/sysconfig/docker"}

func readUnits(t *undo.Tree) (units, error) {
	_, names, err := t.List(dropIns)
	if err != nil {
		return nil, err
	}
	paths := slices.Clone(environments)
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if path := filepath.Join(dir, "docker.service"); t.Exists(path) {
			paths = append(paths, path)
			break // the others are hidden by it
		}
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if filepath.Ext(name) == ".conf" {
			paths = append(paths, filepath.Join(dropIns, name))
		}
	}
	var all units
	for _, path := range paths {
		text, ok, err := t.Read(path)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, unit{path, said(text)})
		}
	}
	return all, nil
}

// said are the lines of a unit that say something.
func said(text []byte) []string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
			lines = append(lines, line)
		}
	}
	return lines
}

// decodeUnit is what a unit says, as far as package undo needs it.
func decodeUnit(text []byte) (map[string]any, error) {
	tree := map[string]any{}
	for _, line := range said(text) {
		tree[line] = true
	}
	return tree, nil
}

// refuse tells of flags that dockerd refuses beside a key of daemon.json.
func (u units) refuse(key string, flags ...string) error {
	is := regexp.MustCompile(`(?:^|[\s"'=])(--?(?:` + strings.Join(flags, "|") + `))(?:[\s"'=]|$)`)
	for _, f := range u {
		for _, line := range f.lines {
			if m := is.FindStringSubmatch(line); m != nil {
				return fmt.Errorf("%s gives dockerd the flag %s, with which it does not start beside %q in daemon.json: move what it says into daemon.json, then install again", f.path, m[1], key)
			}
		}
	}
	return nil
}

// assigned finds a proxy that a line gives to dockerd.
var assigned = regexp.MustCompile(`^(?:Environment=.*?["'\s=])?(HTTPS?_PROXY)=["']?([^"'\s]+)`)

// proxy is the proxy that dockerd is given by its environment, "" if there is none.
func (u units) proxy() (proxy string) {
	for _, f := range u {
		for _, line := range f.lines {
			if m := assigned.FindStringSubmatch(line); m != nil {
				proxy = m[2]
			}
		}
	}
	return proxy
}

// dropIn plans the file that gives dockerd the proxies as its environment.
func (p *plan) dropIn(u units, proxies map[string]string) error {
	noProxy := true // is ours to say
	for _, f := range u {
		for _, line := range f.lines {
			over := slices.Contains(environments, f.path) || filepath.Base(f.path) > dropInName
			if over && assigned.MatchString(line) {
				return fmt.Errorf("%s gives dockerd a proxy, and goes before what would be written: take that line out, then install again", f.path)
			}
			noProxy = noProxy && !strings.Contains(line, "NO_PROXY=")
		}
	}
	var text strings.Builder
	text.WriteString("# Put here by shoal install docker --proxy.\n[Service]\n")
	for _, key := range proxyKeys {
		if key != noProxyKey || noProxy {
			name := strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
			fmt.Fprintf(&text, "Environment=\"%s=%s\"\n", name, strings.ReplaceAll(proxies[key], "%", "%%"))
		}
	}
	return p.Set(filepath.Join(dropIns, dropInName), "the proxy for all registries but Docker Hub", []byte(text.String()),
		undo.Hunk{New: text.String(), Mark: p.Mirror})
}
