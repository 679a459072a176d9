package builtin

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/agentconfig"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/plugin/containerd"
)

// Type and ID of the plugin in containerd.
const (
	Type = plugin.Type("io.shoal.v1")
	ID   = "agent"
)

func init() {
	registry.Register(&plugin.Registration{
		Type: Type,
		ID:   ID,
		Requires: []plugin.Type{
			plugins.ContentPlugin,
			// What client.WithInMemoryServices looks for.
			plugins.EventPlugin,
			plugins.LeasePlugin,
			plugins.SandboxStorePlugin,
			plugins.TransferPlugin,
			plugins.MountManagerPlugin,
			plugins.ServicePlugin,
		},
		Config: &map[string]any{},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			r, err := start(ic)
			if err != nil {
				return nil, err // no nil *running in an interface
			}
			return r, nil
		},
	})
}

// running is the agent while containerd runs.
type running struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once it has ended
	store  *containerd.Store
}

func start(ic *plugin.InitContext) (*running, error) {
	settings := *ic.Config.(*map[string]any)
	if len(settings) == 0 {
		return nil, fmt.Errorf("shoal: its section in containerd's configuration is empty: %w", plugin.ErrSkipPlugin)
	}
	cfg, err := config.FromMap(settings, config.Plugin)
	if err != nil {
		return nil, fmt.Errorf("shoal: %w", err)
	}
	store, err := openStore(ic, cfg)
	if err != nil {
		return nil, fmt.Errorf("shoal: %w", err)
	}
	made := agentconfig.New(cfg, store)
	made.Metrics = prometheus.DefaultRegisterer
	a, err := agent.New(made)
	if err != nil {
		_ = store.Close()
		return nil, fmt.Errorf("shoal: %w", err)
	}
	ctx, cancel := context.WithCancel(ic.Context)
	r := &running{cancel: cancel, ended: make(chan struct{}), store: store}
	go func() {
		defer close(r.ended)
		if r.err = a.Run(ctx); r.err != nil {
			log.G(ctx).WithError(r.err).Error("shoal: the agent ended")
		}
	}()
	select {
	case <-a.Ready():
		return r, nil
	case <-r.ended:
		return nil, fmt.Errorf("shoal: the agent cannot serve: %w", errors.Join(r.err, ic.Context.Err(), r.Close()))
	}
}

// openStore opens the content store of this containerd.
func openStore(ic *plugin.InitContext, cfg *config.Config) (*containerd.Store, error) {
	local, err := client.New("", client.WithDefaultNamespace(cfg.ContainerdNamespace), client.WithInMemoryServices(ic))
	if err != nil {
		return nil, fmt.Errorf("containerd's services: %w", err)
	}
	content := ic.Plugins().Get(plugins.ContentPlugin, "content")
	if content == nil || content.Meta.Exports["root"] == "" {
		return nil, errors.New("containerd's content store is not its own local one, whose files the agent reads")
	}
	return containerd.New(containerd.Config{
		Client:      local,
		Address:     ic.Properties[plugins.PropertyGRPCAddress], // for shoal pull and shoal doctor
		Namespace:   cfg.ContainerdNamespace,
		ContentPath: content.Meta.Exports["root"],
		Direct:      cfg.ContainerdIngest == "direct",
	})
}

// Close ends the agent. containerd calls it.
func (r *running) Close() error {
	r.cancel()
	<-r.ended
	return r.store.Close()
}
