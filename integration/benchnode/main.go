// Command benchnode measures one node, each figure against a baseline of the
// same run: what counts is the ratio, for machines differ and are noisy.
//
// The upstream is a server of this program that sends files with sendfile, the
// fastest one there is. Times are medians of several runs, the baseline's
// interleaved with Shoal's; CPU times are means, for the clock of /proc ticks
// every 10 ms.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.binary, "shoal", "bin/shoal", "the binary to measure")
	flag.IntVar(&b.runs, "runs", 5, "runs of each measurement")
	flag.Int64Var(&b.size, "size", 1<<30, "bytes of the large blob; peers exchange one of a quarter of that")
	flag.DurationVar(&b.load, "load", 5*time.Second, "how long wrk asks for a manifest; whole seconds")
	flag.StringVar(&b.only, "only", "", "the one part to measure: cold, warm, peers or manifests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchnode:", err)
		os.Exit(1)
	}
}

const (
	mib = 1 << 20
	gib = 1 << 30
	ms  = time.Millisecond
)

// bench is what the measurements share.
type bench struct {
	binary string
	runs   int
	size   int64
	load   time.Duration
	only   string

	up    *upstream
	dir   string
	table table
}

func (b *bench) run(ctx context.Context) error {
	if b.runs < 1 || b.size < 4*mib || b.load < time.Second {
		return errors.New("it takes a run, 4 MiB and a second at least")
	}
	dir, err := os.MkdirTemp("", "benchnode")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.up, err = startUpstream(dir); err != nil {
		return err
	}
	defer b.up.close()
	measured := false
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"cold", b.cold},
		{"warm", b.warm},
		{"peers", b.peers},
		{"manifests", b.manifests},
	} {
		if b.only != "" && b.only != part.name {
			continue
		}
		measured = true
		fmt.Fprintln(os.Stderr, "measuring", part.name)
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if !measured {
		return fmt.Errorf("there is no part %q", b.only)
	}
	return b.table.print(os.Stdout)
}
