package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/internal/version"
)

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printVersion(cmd.OutOrStdout(), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printVersion(w io.Writer, output string) error {
	v := version.This()
	switch output {
	case "json":
		return printJSON(w, v)
	case "text":
		_, err := fmt.Fprintf(w, "shoal %s\ncommit   %s\ngo       %s\nplatform %s\n", v.Version, v.Commit, v.Go, v.Platform)
		return err
	}
	return fmt.Errorf("-o %s is unknown: it is text or json", output)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
