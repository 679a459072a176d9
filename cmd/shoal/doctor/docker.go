package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"

	"github.com/shoal-p2p/shoal/plugin/docker"
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
