package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Main runs the command line and returns the exit code: 0, or 1 after an error,
// which stands on standard error, or what an [exit] says.
func Main() int {
	err := New().ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	code := 1
	var e *exit
	if errors.As(err, &e) {
		if code = e.code; e.error == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, "shoal:", err)
	return code
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
	root.AddCommand(newUp(), newSupernode(), newAgent(), newPull(), newGet(), newStatus(), newDoctor(), newInstall(), newUninstall(), newGenCA(), newVersion(), newDocs())
	return root
}
