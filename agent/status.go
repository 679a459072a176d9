package agent

import (
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/p2p"
)

// Status is what the status API answers.
type Status struct {
	Version version.Version `json:"version"`
	Role    string          `json:"role"`             // agent, supernode or up
	Mirror  string          `json:"mirror,omitempty"` // address of the registry mirror
	Store   StoreInfo       `json:"store"`
	Node    p2p.Status      `json:"node"`
}

// StoreInfo says where blobs are kept.
type StoreInfo struct {
	Kind        string `json:"kind"`                  // local, containerd, or other
	Dir         string `json:"dir,omitempty"`         // of the local store
	Address     string `json:"address,omitempty"`     // of containerd
	Namespace   string `json:"namespace,omitempty"`   // of containerd
	ContentPath string `json:"contentPath,omitempty"` // of containerd
}

// Status tells what the agent does now.
func (a *Agent) Status() Status {
	s := Status{
		Version: version.This(), Role: "agent", Mirror: a.cfg.Mirror.String(),
		Store: StoreInfo{Kind: "other"}, Node: a.node.Status(),
	}
	if d, ok := a.cfg.Store.(Described); ok {
		s.Store = d.Info()
	}
	return s
}
