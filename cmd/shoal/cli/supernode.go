package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/files"
	"github.com/shoal-p2p/shoal/internal/admin"
	"github.com/shoal-p2p/shoal/internal/agentconfig"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/resolver"
	"github.com/shoal-p2p/shoal/supernode"
)

func newSupernode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "supernode",
		Short: "Introduce the agents to each other, read each blob once and seed it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags(), config.Supernode)
			if err != nil {
				return err
			}
			return runSupernode(cmd, cfg, config.Supernode)
		},
	}
	config.AddFlags(cmd.Flags(), config.Supernode)
	return cmd
}

func newUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a supernode and a registry mirror in one process: the quick start",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags(), config.Up)
			if err != nil {
				return err
			}
			return runSupernode(cmd, cfg, config.Up)
		},
	}
	config.AddFlags(cmd.Flags(), config.Up)
	return cmd
}

// runSupernode runs a supernode. As config.Up it serves the mirror from the same
// node, and so from the same store: nothing is copied between the two.
func runSupernode(cmd *cobra.Command, cfg *config.Config, role string) error {
	end, err := begin(cfg)
	if err != nil {
		return err
	}
	defer end()
	forward := agentconfig.Proxy(cfg)
	forward.Guard = proxy.NewGuard(forward.AllowTo)
	upstream, err := resolver.New(resolver.Config{
		Registries: agentconfig.Registries(cfg), Patterns: forward.Intercept.Hosts, Control: forward.Guard.Control,
		UserAgent: "shoal/" + version.This().Version,
	})
	if err != nil {
		return err
	}
	defer upstream.Close()
	store, err := openLocal(cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	registry, set := prometheus.NewRegistry(), metrics.New()
	registry.MustRegister(set, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	sn, err := supernode.New(supernode.Config{
		Store: store, Metrics: set, Memory: cfg.MemoryPieces,
		Source: func(origin p2p.Origin, id digest.Digest) p2p.Source {
			if origin.File != "" {
				return files.Source(upstream, origin, id)
			}
			return mirror.Source(upstream, origin, id)
		},
	})
	if err != nil {
		return err
	}
	told := admin.Config{Metrics: registry, Ready: func() bool { return true }} // addresses are bound before anything is served
	told.Status = func() any {
		s := agent.Status{Version: version.This(), Role: role, Store: store.Info(), Node: sn.Node().Status()}
		if role == config.Up {
			s.Mirror, s.Proxy = cfg.MirrorListen, agent.DescribeProxy(forward)
		}
		return s
	}
	mux := http.NewServeMux()
	admin.Add(mux, told)
	mux.Handle("/", sn.Handler())
	servers := []daemon.Server{{Name: "supernode", Key: "listen", Addr: cfg.Listen, Handler: mux, ConnContext: p2p.ConnContext}}
	run := daemon.Config{Run: sn.Run, Grace: cfg.ShutdownGrace}
	ready := func() { log.L.Infof("agents join with: shoal agent --supernodes %s", cfg.Advertise) }
	ctx, stop := daemon.UntilSignal(cmd.Context())
	defer stop()
	if role == config.Up {
		forward.Mirror, err = mirror.New(mirror.Config{
			DefaultRegistry: cfg.DefaultRegistry, Node: sn.Node(), Resolver: upstream, Manifests: store.Manifests(),
			StaleFor: cfg.StaleFor, Metrics: set,
		})
		if err != nil {
			return err
		}
		fetched, err := files.New(files.Config{Node: sn.Node(), Resolver: upstream, Metrics: set, StaleFor: cfg.StaleFor, Dir: files.DirIn(cfg.DataDir)})
		if err != nil {
			return err
		}
		forward.Files = fetched.With
		front, err := proxy.New(forward)
		if err != nil {
			return err
		}
		run.Drain = front.Drain
		run.Run = func(ctx context.Context) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return front.Run(ctx) })
			group.Go(func() error { return sn.Run(ctx) })
			return group.Wait()
		}
		told.Pprof = cfg.AdminPprof
		operators := http.NewServeMux()
		admin.Add(operators, told)
		servers = append(servers,
			daemon.Server{Name: "mirror", Key: "mirror.listen", Addr: cfg.MirrorListen, Handler: front, Clients: true},
			daemon.Server{Name: "admin", Key: "admin.listen", Addr: cfg.AdminListen, Handler: operators})
		daemon.WarnIfOpen(ctx, "mirror.listen", cfg.MirrorListen)
		daemon.WarnIfOpen(ctx, "admin.listen", cfg.AdminListen)
		ready = func() { greet(cfg) }
	}
	upstream.Warn(ctx)
	log.L.Warn("agents are not authenticated: run the swarm in a network that you trust")
	run.Servers = servers
	run.Ready = func(bound []net.Addr) {
		forward.Guard.Own(bound...)
		ready()
	}
	return daemon.Run(ctx, run)
}

// greet tells a newcomer what to do next.
func greet(cfg *config.Config) {
	admin := ""
	if cfg.AdminListen != defaultAdmin {
		admin = " --admin " + cfg.AdminListen
	}
	mirror := ""
	if cfg.MirrorListen != agent.DefaultMirror {
		mirror = " --mirror-listen " + cfg.MirrorListen
	}
	fmt.Fprintf(os.Stderr, `
Shoal is up. Blobs are kept in %s.

  Pull an image:      shoal pull alpine%s
  Download a file:    shoal get%s URL
  Look at it:         shoal status%s
  Add another node:   shoal agent --supernodes %s

  Send containerd:    shoal install containerd%s
  Send dockerd:       shoal install docker%s

Stop with Ctrl-C.

`, cfg.StoreDir, admin, admin, admin, cfg.Advertise, mirror, mirror)
}
