package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Main runs the command line and returns the exit code: 0, or 1 after an error,
// which stands on standard error.
func Main() int {
	if err := New().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "shoal:", err)
		return 1
	}
	return 0
}

// New returns the root command.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "Registry mirror with peer-to-peer blob distribution",
		Long: `Shoal moves container images to every machine of a cluster at the speed of one
machine's network link, while the upstream registry sends them once.

Try it on one machine:      shoal up
In a cluster, on one host:  shoal supernode
and on every node:          shoal agent --supernodes HOST:8002`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.AddCommand(newUp(), newSupernode(), newAgent(), newPull(), newStatus(), newInstall(), newUninstall(), newVersion(), newDocs())
	return root
}
