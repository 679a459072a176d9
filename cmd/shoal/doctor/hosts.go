package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/containerd/install"
	"github.com/shoal-p2p/shoal/plugin/docker"
)

// checkHosts reads containerd's configuration as that containerd does.
func (n *node) checkHosts(context.Context) answer {
	if n.daemon.Version == "" {
		return n.withoutContainerd()
	}
	a := n.readHosts()
	n.pullsWithContainerd = n.storesInContainerd() || a.status == OK
	if a.status == Failure && !n.storesInContainerd() {
		a.status = Warning // containerd may have nothing to do with the agent
	}
	return a
}

func (n *node) readHosts() answer {
	file := n.ContainerdConfig
	if file == "" {
		file = n.daemon.Process.Config
	}
	r, err := install.Look(n.daemon.Process.Root, file, n.daemon.Version, n.HostsDirs)
	if err != nil {
		return asRoot(fail("containerd's configuration cannot be read: %s", why(err)), err)
	}
	n.reading = r
	named, others, err := n.hosts(r)
	if err != nil {
		return asRoot(fail("%s", why(err)), err)
	}
	a := judgeHosts(r, named, others, mirrorOf{n.Config.MirrorListen, addresses(), file})
	if a.status == OK && len(n.HostsDirs) == 0 {
		a = judgeAge(a, r, n.daemon.Process.Started)
	}
	return a
}

// hosts are the folders of the registries that were named, then all others.
func (n *node) hosts(r *install.Reading) (named, others []install.Hosts, err error) {
	dirs := map[string]bool{}
	for _, registry := range n.registries() {
		h, err := r.Of(registry)
		if err != nil {
			return nil, nil, err
		}
		dirs[h.Dir] = true
		named = append(named, h)
	}
	all, err := r.All()
	for _, h := range all {
		if !dirs[h.Dir] {
			others = append(others, h)
		}
	}
	return named, others, err
}

// mirrorOf tells our mirror from other hosts.
type mirrorOf struct {
	listen string
	local  []string // addresses of this machine
	config string   // the runtime's configuration file
}

func (m mirrorOf) is(url string) bool {
	_, addr := hostOf(url)
	return isMirror(addr, m.listen, m.local)
}

func (m mirrorOf) url() string { return "http://" + dialable(m.listen) }

// route is how containerd gets at the images of one folder's registries.
type route struct {
	through bool
	problem string
	fix     []string
}

func (m mirrorOf) route(h install.Hosts) route {
	file := filepath.Join(h.Dir, "hosts.toml")
	table := "[host.\"" + m.url() + "\"]"
	at := slices.IndexFunc(h.Hosts, func(o install.Host) bool { return m.is(o.URL) })
	switch {
	case h.Dir == "":
		return route{problem: "there is no hosts.toml for it", fix: []string{m.install(h.Registry)}}
	case h.Ignored != "":
		return route{problem: file + " is not read: " + h.Ignored, fix: []string{"correct it, then: " + m.install(h.Registry)}}
	case at < 0 && m.is(h.Server) && len(h.Hosts) == 0:
		return route{
			through: true, problem: file + " names the mirror as the server itself: without it, containerd has nowhere to fall back to",
			fix: []string{"name the registry as server in " + file + ", and the mirror as " + table},
		}
	case at < 0 && len(h.Hosts) == 0:
		return route{problem: file + " names no mirror", fix: []string{m.install(h.Registry)}}
	case at < 0:
		return route{problem: fmt.Sprintf("%s names %s, and not this agent's mirror %s", file, h.Hosts[0].URL, m.url()), fix: []string{m.install(h.Registry)}}
	case at > 0:
		return route{
			problem: fmt.Sprintf("%s names the mirror behind %s, which is asked first", file, h.Hosts[0].URL),
			fix:     []string{"move the table " + table + " above all other hosts in " + file},
		}
	case len(h.Hosts[0].Lacks) > 0:
		return route{
			problem: fmt.Sprintf("%s does not let the mirror %s", file, strings.Join(h.Hosts[0].Lacks, " and ")),
			fix:     []string{"write below " + table + " in " + file + `: capabilities = ["pull", "resolve"]`},
		}
	}
	if scheme, _ := hostOf(h.Hosts[0].URL); scheme != "http" {
		return route{
			problem: fmt.Sprintf("%s names %s, but the mirror speaks plain HTTP", file, h.Hosts[0].URL),
			fix:     []string{"name it " + table + " in " + file},
		}
	}
	return route{through: true}
}

// install is the command that makes containerd use the mirror.
func (m mirrorOf) install(registry string) string {
	command := "containerd"
	if registry != "" && registry != everywhere {
		command += " --registry " + registry
	}
	command = m.command(command)
	if m.config != "" && m.config != containerd.DefaultConfig && !strings.Contains(m.config, "/rancher/") { // k3s and RKE2 are found
		command += " --containerd-config " + m.config
	}
	return command
}

// installDocker is the command that makes dockerd use the mirror.
func (m mirrorOf) installDocker(more string) string {
	command := m.command("docker" + more)
	if m.config != docker.DefaultConfig {
		command += " --docker-config " + m.config
	}
	return command
}

func (m mirrorOf) command(args string) string {
	command := "shoal install " + args
	if m.listen != defaultOf("mirror.listen") {
		command += " --mirror " + m.url()
	}
	return command
}

// everywhere is the folder for registries that have none.
const everywhere = "_default"

// judgeHosts looks at the folders of registries that must come through the
// mirror, and at others. One registry may be meant to go its own way, but not
// all.
func judgeHosts(r *install.Reading, named, others []install.Hosts, m mirrorOf) answer {
	switch {
	case len(r.Folders) == 0 && r.ConfigPath != "":
		return fail("config_path is %s: this containerd takes one folder, and ignores lists (containerd issue 12808)", r.ConfigPath).
			do("%s", m.install("")).do("systemctl restart containerd")
	case len(r.Folders) == 0:
		return fail("%s sets no config_path, so that containerd reads no hosts.toml", r.Config).
			do("%s", m.install("")).do("systemctl restart containerd")
	case len(named)+len(others) == 0:
		return fail("no hosts.toml in %s: containerd asks registries directly", strings.Join(r.Folders, " and ")).do("%s", m.install(""))
	}
	var through, problems, fixes []string
	status := OK
	for i, h := range slices.Concat(named, others) {
		route := m.route(h)
		if route.through {
			through = append(through, h.Registry)
			if filepath.Base(h.Dir) == everywhere {
				through = append(through, everywhere)
			}
		}
		if route.problem == "" {
			continue
		}
		text := route.problem
		if h.Dir == "" {
			text = h.Registry + ": " + text
		}
		problems = append(problems, text)
		for _, f := range route.fix {
			if !slices.Contains(fixes, f) {
				fixes = append(fixes, f)
			}
		}
		if !route.through && (i < len(named) || m.mentions(h)) {
			status = Failure
		} else if status == OK {
			status = Warning
		}
	}
	if len(through) == 0 {
		status = Failure
	}
	if status != OK {
		return answer{status: status, detail: strings.Join(problems, "; "), fix: fixes}
	}
	a := fine("%s: %s", m.url(), comes(through))
	if !r.CRI {
		a.detail += fmt.Sprintf("; CRI is off in this containerd, so it is up to ctr (--hosts-dir %s) or nerdctl", r.Folders[0])
	}
	return a
}

// mentions reports whether a folder names the mirror somewhere.
func (m mirrorOf) mentions(h install.Hosts) bool {
	return slices.ContainsFunc(h.Hosts, func(o install.Host) bool { return m.is(o.URL) })
}

// comes says which registries come through the mirror.
func comes(through []string) string {
	through = slices.Sorted(slices.Values(unique(through)))
	i := slices.Index(through, everywhere)
	switch {
	case i < 0:
		return "it comes first for " + strings.Join(through, ", ") + "; other registries bypass it"
	case len(through) == 1:
		return "it comes first for all registries"
	}
	return "it comes first for " + strings.Join(slices.Delete(through, i, i+1), ", ") + " and all that have no folder"
}

// judgeAge tells of a configuration that containerd has not read yet.
func judgeAge(a answer, r *install.Reading, started time.Time) answer {
	if !r.CRI || started.IsZero() || r.Changed.IsZero() || !r.Changed.After(started.Add(2*time.Second)) {
		return a
	}
	return warn("%s; but %s was changed after containerd was started, which has not read the change", a.detail, r.Config).
		do("systemctl restart containerd")
}
