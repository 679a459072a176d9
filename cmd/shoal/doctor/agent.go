package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/shoal-p2p/shoal/internal/config"
)

// checkAgent asks the agent. From then on, what it says holds.
func (n *node) checkAgent(ctx context.Context) answer {
	addr := dialable(n.Config.AdminListen)
	p, _, err := ask(ctx, addr)
	if err != nil {
		return fail("none answers at %s (admin.listen): %s", addr, why(err)).
			do("start it: shoal agent --supernodes HOST:8002").
			do("or, if it runs, give doctor the configuration that it has: shoal doctor --config FILE, or --admin-listen ADDRESS")
	}
	a := judgeAgent(p, n.Config, n.Version)
	if a.status != Failure {
		n.agent = p
		n.adopt(p)
	}
	return a
}

func judgeAgent(p *Process, cfg *config.Config, version string) answer {
	addr := cfg.AdminListen
	switch p.Role {
	case config.Agent, config.Up:
	default:
		return fail("what answers at %s is a %s, which serves no mirror", addr, p.Role).
			do("name the admin address of an agent: shoal doctor --admin-listen ADDRESS")
	}
	if differ := differences(p, cfg); len(differ) > 0 {
		return warn("the agent at %s runs with another configuration than this: %s", addr, strings.Join(differ, "; ")).
			do("restart the agent if the configuration was changed, or give doctor the one that it has: shoal doctor --config FILE")
	}
	if p.Version.Version != version {
		return warn("the agent at %s is shoal %s, and this is %s", addr, p.Version.Version, version).
			do("restart the agent with the new binary, or run the doctor of the agent's")
	}
	return fine("shoal %s answers at %s, its mirror is %s", version, addr, p.Mirror)
}

// differences are the settings that somebody chose and the agent does not have.
func differences(p *Process, cfg *config.Config) (all []string) {
	add := func(key, is, wanted string) {
		if is != wanted && wanted != "" && wanted != defaultOf(key) {
			all = append(all, fmt.Sprintf("its %s is %s, here it is %s", key, orNone(is), wanted))
		}
	}
	super := ""
	if p.Node.Supernode != nil {
		super = p.Node.Supernode.Address
	}
	if p.Role == config.Agent {
		add("supernodes", super, cfg.Supernode())
		add("store.kind", p.Store.Kind, cfg.StoreKind)
	}
	add("mirror.listen", p.Mirror, cfg.MirrorListen)
	if p.Store.Kind == "containerd" && cfg.StoreKind == "containerd" {
		add("containerd.address", p.Store.Address, cfg.ContainerdAddress)
		add("containerd.namespace", p.Store.Namespace, cfg.ContainerdNamespace)
		add("containerd.content_path", p.Store.ContentPath, cfg.ContainerdContentPath)
	}
	return all
}

func defaultOf(key string) string {
	for _, k := range config.Keys {
		if k.Name == key {
			return k.Default
		}
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// adopt makes what the agent says the configuration.
func (n *node) adopt(p *Process) {
	cfg := *n.Config
	cfg.Supernodes = nil
	if p.Node.Supernode != nil {
		cfg.Supernodes = []string{p.Node.Supernode.Address}
	}
	cfg.MirrorListen, cfg.StoreKind = p.Mirror, p.Store.Kind
	if p.Proxy != nil {
		cfg.HijackCert, cfg.HijackHosts, cfg.ProxyRules = p.Proxy.Certificate, nil, nil
		for _, expr := range p.Proxy.Opens {
			if re, err := regexp.Compile(expr); err == nil { // it has compiled there
				cfg.HijackHosts = append(cfg.HijackHosts, config.HijackHost{Regex: re})
			}
		}
		for _, r := range p.Proxy.Rules {
			if re, err := regexp.Compile(r.Regex); err == nil {
				cfg.ProxyRules = append(cfg.ProxyRules, config.ProxyRule{Regex: re, Direct: r.Direct})
			}
		}
	}
	if p.Store.Kind == "containerd" {
		cfg.ContainerdAddress, cfg.ContainerdNamespace, cfg.ContainerdContentPath = p.Store.Address, p.Store.Namespace, p.Store.ContentPath
	} else {
		cfg.StoreDir = p.Store.Dir
	}
	n.Config = &cfg
}
