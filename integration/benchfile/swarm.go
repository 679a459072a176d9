package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// swarm compares downloads that pass through agents with those that they keep, next
// to all nodes straight from the source.
func (b bench) swarm(ctx context.Context) error {
	fmt.Printf("shoal get of %d MiB on %d nodes at once, links of %d Mbit/s\n", b.size/mib, b.nodes, b.rate/1e6)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "way\tlast ÷ bound\tmean ÷ bound\tlast\tsource ÷ file\tsupernode ÷ file\tCPU of agents and clients per GiB")
	if err := b.compare(ctx, w); err != nil {
		return err
	}
	return w.Flush()
}

func (b bench) compare(ctx context.Context, w *tabwriter.Writer) (err error) {
	c, err := testbed.New(ctx, testbed.Options{Shoal: b.shoal, Nodes: b.nodes, Store: "local", Rate: b.rate})
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return err
	}
	src, err := newSource(c, b.size)
	if err != nil {
		return err
	}
	out := filepath.Join(c.Dir(), "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	one := filepath.Join(out, "one")
	bound, err := plain(ctx, c.Nodes[0], "one", one)
	if err = errors.Join(err, src.check(one)); err != nil {
		return err
	}
	last, err := b.direct(ctx, c, src, out, bound)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "all from the source\t%.2f\t\t%.1f s\t%d\t0\t\n", last.Seconds()/bound.Seconds(), last.Seconds(), b.nodes)
	for k := range b.runs {
		for _, flags := range [][]string{nil, {"--keep"}} {
			if err := b.once(ctx, w, c, src, out, fmt.Sprintf("file%d%s", k, strings.Join(flags, "")), bound, flags...); err != nil {
				return err
			}
		}
	}
	return nil
}

// direct is how long all nodes take without Shoal. A sixteenth of the file does.
func (b bench) direct(ctx context.Context, c *testbed.Cluster, src *source, out string, bound time.Duration) (time.Duration, error) {
	whole := src.data
	src.data = whole[:len(whole)/16]
	defer func() { src.data = whole }()
	times, errs := make([]time.Duration, b.nodes), make([]error, b.nodes)
	var wg sync.WaitGroup
	for k, n := range c.Nodes {
		wg.Go(func() { times[k], errs[k] = plain(ctx, n, "direct", filepath.Join(out, n.Name)) })
	}
	wg.Wait()
	return slices.Max(times) * 16, errors.Join(errs...)
}

// once has all nodes download a file that nobody has seen.
func (b bench) once(ctx context.Context, w *tabwriter.Writer, c *testbed.Cluster, src *source, out, name string, bound time.Duration, flags ...string) error {
	sent, cpu := src.sent.Load(), time.Duration(0)
	for _, n := range c.Nodes {
		cpu -= n.Agent.CPU()
	}
	seeded, err := c.SupernodeMetric(ctx, "shoal_seed_bytes_total")
	if err != nil {
		return err
	}
	all, errs := make([]download, b.nodes), make([]error, b.nodes)
	var wg sync.WaitGroup
	for k, n := range c.Nodes {
		file := filepath.Join(out, n.Name)
		wg.Go(func() {
			all[k], errs[k] = runClient(n.Command(ctx, b.shoal, append([]string{"get", "-q", "-o", file, urlOf(name)}, flags...)...))
		})
	}
	wg.Wait()
	for _, n := range c.Nodes {
		errs = append(errs, src.check(filepath.Join(out, n.Name)))
		cpu += n.Agent.CPU()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := c.SupernodeMetric(ctx, "shoal_seed_bytes_total")
	if err != nil {
		return err
	}
	last, mean := time.Duration(0), time.Duration(0)
	for _, d := range all {
		last, mean, cpu = max(last, d.took), mean+d.took/time.Duration(b.nodes), cpu+d.cpu
	}
	moved := float64(b.size) * float64(b.nodes) / (1 << 30)
	fmt.Fprintf(w, "shoal get %s\t%.3f\t%.3f\t%.1f s\t%.4f\t%.3f\t%.1f s\n", strings.Join(flags, " "), last.Seconds()/bound.Seconds(), mean.Seconds()/bound.Seconds(),
		last.Seconds(), float64(src.sent.Load()-sent)/float64(b.size), (after-seeded)/float64(b.size), cpu.Seconds()/moved)
	return nil
}
