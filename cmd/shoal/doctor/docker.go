package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
)

// checkDocker looks whether Docker is here, and what it can do with a mirror.
func (n *node) checkDocker(context.Context) answer {
	text, err := os.ReadFile(n.DockerConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return asRoot(warn("%s: %s", n.DockerConfig, why(err)), err)
	}
	_, noSocket := os.Stat(n.DockerSocket)
	return judgeDocker(noSocket == nil, err == nil, text, n.DockerConfig, n.Config.MirrorListen)
}

func judgeDocker(runs, configured bool, text []byte, file, mirror string) answer {
	if !runs && !configured {
		return skip("there is none here")
	}
	var daemon struct {
		Mirrors []string `json:"registry-mirrors"`
	}
	if err := json.Unmarshal(text, &daemon); configured && err != nil {
		return warn("%s cannot be read: %s", file, err).do("correct it: dockerd does not start with it")
	}
	const only = "Docker asks mirrors for images of Docker Hub alone; those of any other registry bypass Shoal"
	wanted := "http://" + dialable(mirror)
	line := `"registry-mirrors": ["` + wanted + `"]`
	for i, m := range daemon.Mirrors {
		u, err := url.Parse(m)
		if err != nil || !isMirror(u.Host, mirror, addresses()) {
			continue
		}
		if i > 0 {
			return warn("%s names %s behind %s; %s", file, m, daemon.Mirrors[0], only).do("put it first in %s: %s", file, line).do("systemctl restart docker")
		}
		return fine("%s names the mirror. %s", file, only)
	}
	return warn("it is here, and %s does not name the mirror: its pulls bypass Shoal. %s", file, only).
		do("put this into %s: %s", file, line).do("systemctl restart docker")
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
