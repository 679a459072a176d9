package cli

import (
	"github.com/containerd/log"
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
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
	p, err := prepare(cfg, openStore)
	if err != nil {
		return err
	}
	defer p.close()
	node, err := p2p.NewNode(p2p.Config{
		Store: p.store, Metrics: p.metrics, Memory: cfg.MemoryPieces,
		Supernode: cfg.Supernode(), Advertise: cfg.PeerAdvertise, Labels: cfg.PeerLabels,
		UploadRate: cfg.UploadRate, DownloadRate: cfg.DownloadRate,
	})
	if err != nil {
		return err
	}
	servers, err := p.mirrorServers(cfg, node, func() Status {
		return Status{Version: thisVersion(), Role: config.Agent, Mirror: cfg.MirrorListen, Store: storeInfo(cfg), Node: node.Status()}
	})
	if err != nil {
		return err
	}
	if cfg.Supernode() == "" {
		log.L.Warn("no supernode is configured: every blob comes from its upstream")
	} else {
		log.L.Warn("peers are not authenticated: run the swarm in a network that you trust")
	}
	servers = append(servers, daemon.Server{Name: "peer port", Key: "peer.listen", Addr: cfg.PeerListen, Handler: node.Handler(), ConnContext: p2p.ConnContext})
	return daemon.Run(cmd.Context(), daemon.Config{Servers: servers, Run: node.Run, Grace: cfg.ShutdownGrace})
}

func storeInfo(cfg *config.Config) StoreInfo {
	if cfg.StoreKind == "containerd" {
		return StoreInfo{Kind: cfg.StoreKind, Address: cfg.ContainerdAddress, Namespace: cfg.ContainerdNamespace, ContentPath: cfg.ContainerdContentPath}
	}
	return StoreInfo{Kind: "local", Dir: cfg.StoreDir}
}
