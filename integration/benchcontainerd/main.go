// Command benchcontainerd compares the ways in which an image gets into
// containerd's content store, in one run: a plain pull from a registry, one
// through the agent's mirror (stream), one for which the agent writes (direct), and
// one for which an agent inside containerd does (inside).
//
// Every node is a network namespace with a containerd and an agent of its own.
// Each pull is of an image that nobody has seen. Times are of the last node, and
// medians of several runs, in which the ways take turns; what counts is their
// ratio to the plain pull. Nothing is unpacked unless -unpack is given: that
// takes the same time whichever way the layers came.
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
	"slices"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

func main() {
	logrus.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchcontainerd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var b bench
	flag.StringVar(&b.shoal, "shoal", "bin/shoal", "the binary to measure")
	flag.StringVar(&b.containerd, "containerd", ".cache/bin", "folder of containerd 2.x and ctr")
	flag.IntVar(&b.runs, "runs", 3, "runs of each way")
	flag.BoolVar(&b.unpack, "unpack", false, "unpack the layers too, as ctr does")
	source := flag.String("inside", "contrib/containerd", "module of the containerd with the agent inside")
	names := flag.String("cases", "", "comma-separated names of the cases; all by default")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flag.Arg(0))
	}
	if b.runs < 1 {
		return errors.New("-runs: it takes one at least")
	}
	for _, path := range []*string{&b.shoal, &b.containerd} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	inside, err := os.MkdirTemp("", "inside")
	if err != nil {
		return err
	}
	defer os.RemoveAll(inside)
	b.inside = inside
	if err := testbed.BuildInside(ctx, *source, b.containerd, inside); err != nil {
		return err
	}
	list := cases
	if *names != "" {
		list = nil
		for _, name := range strings.Split(*names, ",") {
			i := slices.IndexFunc(cases, func(c testcase) bool { return c.name == name })
			if i < 0 {
				return fmt.Errorf("-cases: there is no %q", name)
			}
			list = append(list, cases[i])
		}
	}
	for _, c := range list {
		fmt.Fprintln(os.Stderr, "measuring", c)
		s, err := b.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		if err := s.print(os.Stdout, c); err != nil {
			return err
		}
	}
	return nil
}
