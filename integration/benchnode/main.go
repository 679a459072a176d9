// Command benchnode measures one node without peers against a direct download
// from the same upstream, in the same run.
//
// The upstream is a server of this program that sends files with sendfile, the
// fastest one there is; the client hashes what it gets in both cases where the
// direct client does. Each figure is the median of several runs, next to its
// baseline; what counts is the ratio or the difference.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"
)

func main() {
	shoal := flag.String("shoal", "bin/shoal", "the binary to measure")
	runs := flag.Int("runs", 5, "runs of each measurement")
	big := flag.Int64("size", 1<<30, "bytes of the large blob")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *shoal, *runs, *big); err != nil {
		fmt.Fprintln(os.Stderr, "benchnode:", err)
		os.Exit(1)
	}
}

const (
	mib = 1 << 20
	ms  = time.Millisecond
)

func run(ctx context.Context, binary string, runs int, big int64) error {
	dir, err := os.MkdirTemp("", "benchnode")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	up, err := startUpstream(dir)
	if err != nil {
		return err
	}
	defer up.close()

	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "what\tthrough\tdirect\tshoal\t\tdirect into a file\t")
	for _, topology := range []string{"agent that stores nothing", "agent alone", "shoal up", "agent and supernode"} {
		c := &comparison{up: up, binary: binary, dir: dir, topology: topology, runs: runs}
		first, err := c.measure(ctx, 100*mib, firstByte)
		if err != nil {
			return err
		}
		small, err := c.measure(ctx, mib, whole)
		if err != nil {
			return err
		}
		large, err := c.measure(ctx, big, verified)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "first byte of a cold 100 MiB blob\t%s\t%.1f ms\t%.1f ms\t+%.1f ms\t\t\n", topology, in(first.direct), in(first.shoal), in(first.shoal-first.direct))
		fmt.Fprintf(table, "cold 1 MiB blob\t%s\t%.1f ms\t%.1f ms\t+%.1f ms\t\t\n", topology, in(small.direct), in(small.shoal), in(small.shoal-small.direct))
		fmt.Fprintf(table, "cold %d MiB blob, verified\t%s\t%.0f ms\t%.0f ms\t× %.2f\t%.0f ms\t× %.2f\n", big/mib, topology,
			in(large.direct), in(large.shoal), float64(large.shoal)/float64(large.direct),
			in(large.alsoStored), float64(large.shoal)/float64(large.alsoStored))
	}
	return table.Flush()
}

func in(d time.Duration) float64 { return float64(d) / float64(ms) }
