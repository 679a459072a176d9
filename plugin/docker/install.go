package docker

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// Options say what to install, and where.
type Options struct {
	// Root stands for /. "" means /.
	Root string
	// Mirror is the address of the mirror and proxy, such as
	// http://127.0.0.1:65001.
	Mirror string
	// Proxy sends all other registries through the agent as a proxy.
	Proxy bool
	// Config is dockerd's daemon.json. "" means /etc/docker/daemon.json.
	Config string
	// Version is dockerd's, which matters with Proxy. "" means to ask the one at
	// Socket, which "" means the machine's own, if Root is; else Binary, and that
	// "" means to look for one below Root.
	Version, Socket, Binary string
	// DryRun changes nothing.
	DryRun bool
}

// DefaultConfig is where dockerd looks for its configuration, DefaultSocket where
// it listens.
const (
	DefaultConfig = "/etc/docker/daemon.json"
	DefaultSocket = "/var/run/docker.sock"
)

// withProxy is the part of an installation that can be chosen.
const withProxy = "proxy"

// Install makes dockerd pull through the mirror.
func Install(ctx context.Context, o Options) (*undo.Result, error) {
	p, err := undo.Begin(subject, o.Root, o.Mirror)
	if err != nil {
		return nil, err
	}
	if o.Config == "" {
		o.Config = DefaultConfig
	}
	if o.Proxy && !slices.Contains(p.Parts, withProxy) {
		p.Parts = append(p.Parts, withProxy)
	}
	if err := (&plan{Plan: p}).make(ctx, o); err != nil {
		return nil, err
	}
	r, err := p.Finish(o.DryRun)
	return withRestart(r), err
}

// Uninstall takes back what Install did below root; "" stands for /. Without an
// installation it does nothing.
func Uninstall(root string, dryRun bool) (*undo.Result, error) {
	r, err := undo.Uninstall(subject, root, dryRun)
	return withRestart(r), err
}

// subject is what the files mean: drop-ins of systemd, and JSON.
var subject = undo.Subject{Name: "docker", Language: func(path string) undo.Language {
	if filepath.Base(path) == dropInName {
		return undo.Language{Decode: decodeUnit}
	}
	return undo.Language{Decode: decode, TakeOut: takeOut}
}}

// plan is what to write.
type plan struct{ *undo.Plan }

func (p *plan) make(ctx context.Context, o Options) error {
	u, err := readUnits(p.Tree)
	if err != nil {
		return err
	}
	if err := u.refuse(mirrorsKey, "registry-mirror"); err != nil {
		return err
	}
	s, what, replaced := settings{mirror: p.Mirror}, "the mirror comes first for Docker Hub", ""
	proxied := slices.Contains(p.Parts, withProxy)
	if proxied {
		proxies := proxiesFor(p.Mirror)
		replaced = u.proxy()
		knows, err := knowsProxies(ctx, p.Tree, o)
		if err != nil {
			return err
		}
		if knows {
			s.proxies, what = proxies, what+", the proxy for all other registries"
			err = u.refuse(proxiesKey, proxyKeys...)
		} else {
			err = p.dropIn(u, proxies)
		}
		if err != nil {
			return err
		}
	}
	text, _, err := p.Tree.Read(o.Config)
	if err != nil {
		return err
	}
	out, was, err := s.edit(text)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Config, err)
	}
	if proxied {
		p.notes(cmp.Or(was, replaced))
	}
	return p.Set(o.Config, what, out)
}

// notes tell what comes with a proxy.
func (p *plan) notes(replaced string) {
	if u, err := url.Parse(replaced); err == nil && replaced != "" {
		p.Note("dockerd went through the proxy %s so far: set HTTPS_PROXY to it for the agent, which is the one to go through it now.", u.Redacted())
	}
	p.Note("There is no way past a proxy: while the agent does not run, dockerd pulls nothing but what is on registry-mirrors or on loopback.")
	p.Note("What the agent shall look into is named in its proxy.hijack_https; dockerd must trust the CA that is named there. All else passes it unread.")
}

// proxiesFor are the settings of a proxy at an address.
func proxiesFor(address string) map[string]string {
	// Loopback would be left out anyway. The mirror itself is no site to proxy.
	none := "localhost,127.0.0.0/8"
	if u, err := url.Parse(address); err == nil {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			none += "," + u.Hostname()
		}
	}
	return map[string]string{"http-proxy": address, "https-proxy": address, noProxyKey: none}
}

const (
	reload     = "systemctl reload docker"
	restart    = "systemctl restart docker"
	reloadUnit = "systemctl daemon-reload && " + restart
)

// withRestart fills in what makes the changes take effect.
func withRestart(r *undo.Result) *undo.Result {
	if r == nil || len(r.Changes) == 0 {
		return r
	}
	r.Restart = reload
	for _, c := range r.Changes {
		if filepath.Base(c.Path) == dropInName {
			r.Restart = reloadUnit
		} else if r.Restart == reload && !reloads(c) {
			r.Restart = restart
		}
	}
	if r.Restart != reload {
		r.Notes = append(r.Notes, "A restart of dockerd stops the containers of this machine, unless live-restore is set in daemon.json.")
	}
	return r
}

// reloads reports whether dockerd takes a change of daemon.json while it runs.
func reloads(c undo.Change) bool {
	before, _ := decode(c.Before)
	after, _ := decode(c.After)
	_, had := before[mirrorsKey]
	_, has := after[mirrorsKey]
	return (has || !had) && reflect.DeepEqual(before[proxiesKey], after[proxiesKey])
}
