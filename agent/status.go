package agent

import (
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/proxy"
)

// Status is what the status API answers.
type Status struct {
	Version version.Version `json:"version"`
	Role    string          `json:"role"`             // agent, supernode or up
	Mirror  string          `json:"mirror,omitempty"` // address of the registry mirror
	Proxy   *ProxyInfo      `json:"proxy,omitempty"`
	Store   StoreInfo       `json:"store"`
	Node    p2p.Status      `json:"node"`
}

// StoreInfo says where blobs are kept.
type StoreInfo struct {
	Kind        string `json:"kind"`                  // local, containerd, none, or other
	Dir         string `json:"dir,omitempty"`         // of the local store
	Address     string `json:"address,omitempty"`     // of containerd
	Namespace   string `json:"namespace,omitempty"`   // of containerd
	ContentPath string `json:"contentPath,omitempty"` // of containerd
}

// ProxyInfo says what the forward proxy looks into.
type ProxyInfo struct {
	Certificate string      `json:"certificate,omitempty"` // file of the CA, or of what is presented to all
	Opens       []string    `json:"opens"`                 // regular expressions of host:port
	Rules       []ProxyRule `json:"rules"`                 // the first that matches counts
}

// ProxyRule says whether what its regular expression matches comes from the swarm.
type ProxyRule struct {
	Regex  string `json:"regex"`
	Direct bool   `json:"direct,omitempty"`
}

// DescribeProxy is what a proxy of this configuration looks into.
func DescribeProxy(cfg proxy.Config) *ProxyInfo {
	info := &ProxyInfo{Certificate: cfg.Intercept.CertFile, Opens: []string{}, Rules: []ProxyRule{}}
	for _, h := range cfg.Intercept.Hosts {
		info.Opens = append(info.Opens, h.Host.String())
	}
	for _, r := range cfg.Rules {
		info.Rules = append(info.Rules, ProxyRule{Regex: r.Regexp.String(), Direct: r.Direct})
	}
	return info
}

// Status tells what the agent does now.
func (a *Agent) Status() Status {
	s := Status{
		Version: version.This(), Role: "agent", Mirror: a.cfg.Mirror.String(),
		Proxy: DescribeProxy(a.cfg.Proxy), Store: StoreInfo{Kind: "other"}, Node: a.node.Status(),
	}
	if d, ok := a.cfg.Store.(Described); ok {
		s.Store = d.Info()
	}
	return s
}
