package install

import (
	"context"
	"slices"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// plan is what to write. Its parts are registries; "" stands for all.
type plan struct {
	*undo.Plan

	// needsHost is a containerd, 1.x, that reads no hosts.toml without a host.
	needsHost string
}

func (p *plan) make(ctx context.Context, o Options) error {
	distribution, err := p.distribution(o.Distribution)
	if err != nil {
		return err
	}
	if distribution == "containerd" {
		return p.containerd(ctx, o)
	}
	return p.rancher(distribution)
}

// wants reports whether a registry is to come through the mirror; "" asks for
// all of them.
func (p *plan) wants(registry string) bool { return slices.Contains(p.Parts, registry) }
