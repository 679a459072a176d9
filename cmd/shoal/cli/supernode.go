package cli

import (
	"fmt"
	"net/http"
	"os"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
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
			return runSupernode(cmd, cfg, false)
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
			return runSupernode(cmd, cfg, true)
		},
	}
	config.AddFlags(cmd.Flags(), config.Up)
	return cmd
}

// runSupernode runs a supernode. withMirror serves the mirror from the same
// node, and so from the same store: nothing is copied between the two.
func runSupernode(cmd *cobra.Command, cfg *config.Config, withMirror bool) error {
	closeLog, err := startLog(cfg)
	if err != nil {
		return err
	}
	defer closeLog()
	limitMemory(cfg.MemoryPieces)
	st, err := openLocal(cfg)
	if err != nil {
		return err
	}
	defer st.Close()
	res, err := newResolver(cfg)
	if err != nil {
		return err
	}
	defer res.Close()
	reg, set := newMetrics()
	sn, err := supernode.New(supernode.Config{
		Store: st, Metrics: set, Memory: cfg.MemoryPieces,
		Source: func(origin p2p.Origin, dgst digest.Digest) p2p.Source { return mirror.Source(res, origin, dgst) },
	})
	if err != nil {
		return err
	}
	status := func() Status {
		s := Status{Version: thisVersion(), Store: storeInfo(cfg), Node: sn.Node().Status()}
		if withMirror {
			s.Mirror = cfg.MirrorListen
		}
		return s
	}
	mux := http.NewServeMux()
	admin(mux, reg, status, false)
	mux.Handle("/", sn.Handler())
	servers := []daemon.Server{{Name: "supernode", Key: "listen", Addr: cfg.Listen, Handler: mux}}
	ready := func() {}
	if withMirror {
		more, err := mirrorServers(cfg, sn, st, res, reg, set, status)
		if err != nil {
			return err
		}
		servers = append(servers, more...)
		ready = func() { greet(cfg) }
	}
	log.L.Warn("agents are not authenticated: run the swarm in a network that you trust")
	return daemon.Run(cmd.Context(), daemon.Config{Servers: servers, Run: sn.Run, Grace: cfg.ShutdownGrace, Ready: ready})
}

func mirrorServers(cfg *config.Config, sn *supernode.Supernode, st *store, res *resolver.Resolver,
	reg *prometheus.Registry, set *metrics.Set, status func() Status,
) ([]daemon.Server, error) {
	front, err := mirror.New(mirror.Config{
		DefaultRegistry: cfg.DefaultRegistry, Node: sn.Node(), Resolver: res, Manifests: st.manifests,
		StaleFor: cfg.StaleFor, Metrics: set,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	admin(mux, reg, status, cfg.AdminPprof)
	warnIfOpen("mirror.listen", cfg.MirrorListen)
	warnIfOpen("admin.listen", cfg.AdminListen)
	return []daemon.Server{
		{Name: "mirror", Key: "mirror.listen", Addr: cfg.MirrorListen, Handler: front, Clients: true},
		{Name: "admin", Key: "admin.listen", Addr: cfg.AdminListen, Handler: mux},
	}, nil
}

// greet tells a newcomer what to do next.
func greet(cfg *config.Config) {
	fmt.Fprintf(os.Stderr, `
Shoal is up. Blobs are kept in %s.

  Pull an image:           shoal pull alpine
  Look at it:              shoal status
  Point containerd here:   echo '[host."http://%s"]' > /etc/containerd/certs.d/docker.io/hosts.toml
  Add another node:        shoal agent --supernodes THIS-HOST%s

Stop with Ctrl-C.

`, cfg.StoreDir, cfg.MirrorListen, cfg.Listen)
}
