// Package agentconfig makes settings, by their keys, the configuration of an
// agent. It is the one place of internal that knows package agent: the command
// line and the plugin inside containerd share it.
package agentconfig

import (
	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/resolver"
)

// New is what cfg says of an agent with that store.
func New(cfg *config.Config, store p2p.Store) agent.Config {
	c := agent.Config{
		Store:      store,
		DataDir:    cfg.DataDir,
		Supernodes: cfg.Supernodes,
		Mirror:     agent.Listen{Addr: cfg.MirrorListen},
		Peers:      agent.Listen{Addr: cfg.PeerListen},
		Admin:      agent.Listen{Addr: cfg.AdminListen},
		Advertise:  cfg.PeerAdvertise, Labels: cfg.PeerLabels,
		UploadRate: cfg.UploadRate, DownloadRate: cfg.DownloadRate,
		Memory:     cfg.MemoryPieces,
		Registries: Registries(cfg), DefaultRegistry: cfg.DefaultRegistry, StaleFor: cfg.StaleFor,
		Proxy: Proxy(cfg),
		Pprof: cfg.AdminPprof,
		Grace: cfg.ShutdownGrace,
	}
	if c.Grace == 0 {
		c.Grace = -1 // somebody asked for none
	}
	return c
}

// Registries are the upstreams that need more than HTTPS.
func Registries(cfg *config.Config) (all []resolver.Registry) {
	for _, r := range cfg.Registries {
		all = append(all, resolver.Registry(r))
	}
	return all
}

// Proxy is what cfg says of the forward proxy.
func Proxy(cfg *config.Config) proxy.Config {
	c := proxy.Config{
		AllowFrom: cfg.ProxyFrom, AllowTo: cfg.ProxyTo,
		Intercept: proxy.Intercept{CertFile: cfg.HijackCert, KeyFile: cfg.HijackKey},
	}
	for _, r := range cfg.ProxyRules {
		c.Rules = append(c.Rules, proxy.Rule{Regexp: r.Regex, Direct: r.Direct, UseHTTPS: r.UseHTTPS, Redirect: r.Redirect})
	}
	for _, h := range cfg.HijackHosts {
		c.Intercept.Hosts = append(c.Intercept.Hosts, resolver.Pattern{Host: h.Regex, CAFile: h.CAFile, Insecure: h.Insecure})
	}
	return c
}
