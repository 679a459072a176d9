// Command benchproxy measures the forward proxy beside tinyproxy and beside no
// proxy, in the same run: what counts is the ratio, for machines differ and are
// noisy. Everything is on the loopback interface, and the three take turns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.binary, "shoal", "bin/shoal", "the binary to measure")
	flag.IntVar(&b.runs, "runs", 7, "runs of each measurement")
	flag.Int64Var(&b.size, "size", 1<<30, "bytes of a transfer")
	flag.IntVar(&b.requests, "requests", 2000, "requests, one after the other, of a run")
	flag.IntVar(&b.hosts, "hosts", 1000, "hosts whose connections are opened in a run")
	isOrigin := flag.Bool("origin", false, "be the origin, and nothing else")
	flag.Parse()
	if *isOrigin {
		fmt.Fprintln(os.Stderr, "benchproxy:", serveOrigin())
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchproxy:", err)
		os.Exit(1)
	}
}

// bench is what the measurements share.
type bench struct {
	binary   string
	runs     int
	size     int64
	requests int
	hosts    int

	dir    string
	origin string // host:port
	ways   []way
}

// way is one to reach the origin.
type way struct {
	name  string
	proxy string // host:port; "" is none
	pid   int    // of the proxy
}

func (b *bench) run(ctx context.Context) error {
	if b.runs < 1 || b.size < 1 || b.requests < 100 || b.hosts < 100 {
		return errors.New("it takes a run, a byte, 100 requests and 100 hosts at least")
	}
	dir, err := os.MkdirTemp("", "benchproxy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	stopOrigin, err := b.startOrigin(ctx)
	defer stopOrigin()
	if err != nil {
		return err
	}
	stop, err := b.startProxies(ctx)
	defer stop()
	if err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{b.throughput, b.latency, b.opening} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}
