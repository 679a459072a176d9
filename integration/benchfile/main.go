// Command benchfile measures downloads with shoal get: how long the nodes of a swarm
// take against the time in which one node alone has the file straight from its source,
// over the same shaped links; and how many bytes a download writes to the disk, next
// to a plain download of the same file in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sirupsen/logrus"
)

const mib = 1 << 20

// bench is what both parts have in common.
type bench struct {
	shoal string
	nodes int
	size  int64 // of the file, in bytes
	rate  int64 // of every link of the swarm, in bits per second each way
	runs  int
}

func main() {
	logrus.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchfile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var b bench
	flag.StringVar(&b.shoal, "shoal", "bin/shoal", "the binary to measure")
	flag.IntVar(&b.nodes, "n", 8, "nodes that download at once")
	size := flag.Int64("s", 256, "size of the file in MiB")
	rate := flag.Int64("b", 80, "rate of every link in Mbit/s each way")
	flag.IntVar(&b.runs, "runs", 1, "runs of each swarm")
	disk := flag.Bool("disk", false, "count what is written to the disk instead")
	flag.Parse()
	if flag.NArg() > 0 || b.nodes < 1 || *size < 1 || *rate < 1 || b.runs < 1 {
		return errors.New("-n, -s, -b and -runs are 1 at least, and there is nothing else to say")
	}
	b.size, b.rate = *size*mib, *rate*1e6
	var err error
	if b.shoal, err = filepath.Abs(b.shoal); err != nil {
		return err
	}
	if *disk {
		return b.disk(ctx)
	}
	return b.swarm(ctx)
}
