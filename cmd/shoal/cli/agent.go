package cli

import (
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/agentconfig"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
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
	end, err := begin(cfg)
	if err != nil {
		return err
	}
	defer end()
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	a, err := agent.New(agentconfig.New(cfg, store))
	if err != nil {
		return err
	}
	ctx, stop := daemon.UntilSignal(cmd.Context())
	defer stop()
	return a.Run(ctx)
}
