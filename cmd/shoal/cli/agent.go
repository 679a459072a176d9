package cli

import (
	"net/http"

	"github.com/containerd/log"
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
)

func newAgent() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve the registry mirror on a node and exchange blobs with the others",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags(), config.Agent)
			if err != nil {
				return err
			}
			return runAgent(cmd, cfg)
		},
	}
	config.AddFlags(cmd.Flags(), config.Agent)
	return cmd
}

func runAgent(cmd *cobra.Command, cfg *config.Config) error {
	closeLog, err := startLog(cfg)
	if err != nil {
		return err
	}
	defer closeLog()
	limitMemory(cfg.MemoryPieces)
	st, err := openStore(cfg)
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
	node, err := p2p.NewNode(p2p.Config{
		Store: st, Metrics: set, Memory: cfg.MemoryPieces,
		Supernode: cfg.Supernode(), Advertise: cfg.PeerAdvertise, Labels: cfg.PeerLabels,
		UploadRate: cfg.UploadRate, DownloadRate: cfg.DownloadRate,
	})
	if err != nil {
		return err
	}
	front, err := mirror.New(mirror.Config{
		DefaultRegistry: cfg.DefaultRegistry, Node: node, Resolver: res, Manifests: st.manifests,
		StaleFor: cfg.StaleFor, Metrics: set,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	admin(mux, reg, func() Status {
		return Status{Version: thisVersion(), Mirror: cfg.MirrorListen, Store: storeInfo(cfg), Node: node.Status()}
	}, cfg.AdminPprof)
	warnIfOpen("mirror.listen", cfg.MirrorListen)
	warnIfOpen("admin.listen", cfg.AdminListen)
	if cfg.Supernode() == "" {
		log.L.Warn("no supernode is configured: every blob comes from its upstream")
	} else {
		log.L.Warn("peers are not authenticated: run the swarm in a network that you trust")
	}
	return daemon.Run(cmd.Context(), daemon.Config{
		Servers: []daemon.Server{
			{Name: "mirror", Key: "mirror.listen", Addr: cfg.MirrorListen, Handler: front, Clients: true},
			{Name: "peer port", Key: "peer.listen", Addr: cfg.PeerListen, Handler: node.Handler()},
			{Name: "admin", Key: "admin.listen", Addr: cfg.AdminListen, Handler: mux},
		},
		Run: node.Run, Grace: cfg.ShutdownGrace,
	})
}

func storeInfo(cfg *config.Config) StoreInfo {
	if cfg.StoreKind == "containerd" {
		return StoreInfo{Kind: cfg.StoreKind, Address: cfg.ContainerdAddress, Namespace: cfg.ContainerdNamespace}
	}
	return StoreInfo{Kind: "local", Dir: cfg.StoreDir}
}
