package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

var sources = []string{"upstream", "supernode", "peer", "store"}

// report prints where each node's bytes came from.
func report(ctx context.Context, c *testbed.Cluster, size int64, seconds []float64) error {
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "node\tseconds\tupstream\tsupernode\tpeers\tstore\t")
	sum := map[string]int64{}
	for i, n := range c.Nodes {
		fmt.Fprintf(t, "%s\t%.1f\t", n.Name, seconds[i])
		for _, s := range sources {
			v, err := n.Bytes(ctx, s)
			if err != nil {
				return err
			}
			sum[s] += v
			fmt.Fprintf(t, "%.1f MiB\t", mib(v))
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "all nodes\t\t")
	for _, s := range sources {
		fmt.Fprintf(t, "%.1f MiB\t", mib(sum[s]))
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	logged, err := c.Upstream.Logged()
	if err != nil {
		return err
	}
	fmt.Printf(`
The registry's own log counts %.1f MiB of blobs sent: %.3f × the image, for %d nodes.
Without Shoal it would have sent %.0f × the image. The supernode read it once and
passed on %.2f × the image; the nodes gave each other the rest.

`, mib(logged), float64(logged)/float64(size), len(c.Nodes), float64(len(c.Nodes)), float64(sum["supernode"])/float64(size))
	return nil
}
