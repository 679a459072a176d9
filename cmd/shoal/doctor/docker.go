package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/plugin/docker"
	"github.com/shoal-p2p/shoal/resolver"
)

// dockerd is what is known of the Docker of this machine.
type dockerd struct {
	file string // its daemon.json
	// says is what it says itself, nil if it does not run or answer; silent is
	// why then.
	says   *docker.Daemon
	silent error
	// reads is what its file says, nil if there is none or it cannot be read;
	// broken is why then.
	reads  *docker.Daemon
	broken error
}

// there reports whether there is a Docker at all.
func (d *dockerd) there() bool {
	return d.says != nil || d.reads != nil || d.broken != nil || !errors.Is(d.silent, fs.ErrNotExist)
}

// holds is what counts: what a running dockerd says, else what its file does.
func (d *dockerd) holds() docker.Daemon {
	switch {
	case d.says != nil:
		return *d.says
	case d.reads != nil:
		return *d.reads
	}
	return docker.Daemon{}
}

// checkDocker looks whether Docker is here, and whether it asks the mirror.
func (n *node) checkDocker(ctx context.Context) answer {
	d := &dockerd{file: n.DockerConfig}
	if d.says, d.silent = docker.Ask(ctx, n.DockerSocket); d.silent != nil {
		if _, err := os.Stat(n.DockerSocket); err != nil {
			d.silent = err
		}
	}
	text, err := os.ReadFile(n.DockerConfig)
	if err == nil {
		d.reads, err = docker.ReadConfig(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		d.broken = err
	}
	n.docker = d
	return asRoot(judgeDocker(d, n.dockerMirror()), errors.Join(d.silent, d.broken))
}

func (n *node) dockerMirror() mirrorOf {
	return mirrorOf{n.Config.MirrorListen, addresses(), n.DockerConfig}
}

const (
	reloadDocker  = "systemctl reload docker"
	restartDocker = "systemctl daemon-reload && systemctl restart docker"
)

func judgeDocker(d *dockerd, m mirrorOf) answer {
	const only = "it asks mirrors for images of Docker Hub alone"
	if !d.there() {
		return skip("there is none here")
	}
	if d.broken != nil {
		return warn("%s cannot be read: %s", d.file, why(d.broken)).do("correct it: dockerd does not start with it")
	}
	who := "dockerd"
	if d.says == nil {
		who = d.file
	}
	mirrors := d.holds().Mirrors
	switch i := slices.IndexFunc(mirrors, m.is); {
	case i == 0:
		return fine("%s names the mirror; %s", who, only)
	case i > 0:
		return warn("%s names %s behind %s", who, mirrors[i], mirrors[0]).do("%s", m.installDocker("")).do(reloadDocker)
	case d.says != nil && d.reads != nil && slices.ContainsFunc(d.reads.Mirrors, m.is):
		return warn("%s names the mirror, but dockerd has not read it", d.file).do(reloadDocker)
	case d.says == nil && !errors.Is(d.silent, fs.ErrNotExist):
		who = fmt.Sprintf("dockerd does not say how it pulls (%s), and %s", why(d.silent), d.file)
	}
	return warn("%s does not name the mirror: pulls from Docker Hub bypass Shoal", who).do("%s", m.installDocker("")).do(reloadDocker)
}

// checkDockerProxy looks how Docker's pulls from other registries go.
func (n *node) checkDockerProxy(context.Context) answer {
	if n.docker == nil || !n.docker.there() {
		return skip("there is no Docker here")
	}
	var others []string
	for _, r := range n.registries() {
		if r != resolver.DockerHub {
			others = append(others, r)
		}
	}
	return judgeDockerProxy(n.docker.holds(), others, n.dockerMirror())
}

// judgeDockerProxy judges the way to registries other than Docker Hub, of which
// some were named.
func judgeDockerProxy(d docker.Daemon, named []string, m mirrorOf) answer {
	install := func(a answer) answer {
		return a.do("%s", m.installDocker(" --proxy")).do(restartDocker)
	}
	const why = "dockerd asks registry-mirrors for Docker Hub alone, and all other registries itself"
	if d.HTTPSProxy == "" && d.HTTPProxy == "" {
		if len(named) == 0 {
			return install(skip("it has none: %s. Who pulls from others with Docker makes the agent its proxy", why))
		}
		return install(warn("Docker's pulls from %s bypass Shoal: %s. They come through the agent if it is dockerd's proxy", strings.Join(named, ", "), why))
	}
	if !m.is(d.HTTPSProxy) {
		return install(warn("Docker's pulls from registries other than Docker Hub bypass Shoal: dockerd reaches them through the proxy %q", d.HTTPSProxy).
			do("give the agent that proxy first, as HTTPS_PROXY in its environment"))
	}
	return fine("dockerd reaches registries other than Docker Hub through the agent")
}

// addresses are those of this machine.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok {
			out = append(out, ip.IP.String())
		}
	}
	return out
}

// isMirror reports whether host:port is where the mirror listens, on a machine
// with these addresses.
func isMirror(addr, listen string, local []string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	at, wanted, err := net.SplitHostPort(listen)
	if err != nil || port != wanted {
		return false
	}
	if host == at || loopback(host) && loopback(at) {
		return true
	}
	if !unspecified(at) {
		return false
	}
	for _, ip := range local {
		if ip == host {
			return true
		}
	}
	return loopback(host)
}
