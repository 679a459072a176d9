package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/testbed"
)

// baseline is the same without Shoal, over the same links.
type baseline struct {
	bound time.Duration // one node alone, straight from the registry
	// The last of all nodes ÷ one node alone; 0 if it was not measured.
	direct float64 // straight from the registry
	cache  float64 // through a pull-through cache in the supernode's place
	// floor is the processor time in which one relay receives the bytes, hashes
	// them once, writes them to a file and sends them once. It is measured where
	// no link is the limit, else 0.
	floor time.Duration
}

// baselineBytes is what all nodes pull without Shoal at most: they take about N
// times as long as one, whatever the size.
const baselineBytes = 16 * mib

// measureBaseline takes the bound, and if all is set the others too.
func (c config) measureBaseline(ctx context.Context, s scenario, all bool) (b baseline, err error) {
	s.Stagger, s.Slow, s.Kill, s.Freeze, s.KillSupernode = 0, 0, false, false, false
	if s.Rate == 0 {
		if err := floor.Touch(); err != nil {
			return b, err
		}
		if b.floor, err = floor.IntoFile(s.Bytes, os.TempDir()); err != nil {
			return b, err
		}
	}
	err = c.withoutShoal(ctx, s, func(cluster *testbed.Cluster) (err error) {
		b.bound, err = pull(ctx, cluster.Nodes[0], registry, s)
		return err
	})
	if err != nil || !all {
		return b, err
	}
	s.Bytes = min(s.Bytes, baselineBytes)
	return b, c.withoutShoal(ctx, s, func(cluster *testbed.Cluster) error {
		one, err := pull(ctx, cluster.Nodes[0], registry, s)
		if err != nil {
			return err
		}
		direct, err := c.pullAll(ctx, cluster, s, registry)
		if err != nil {
			return err
		}
		cached, err := c.pullAll(ctx, cluster, s, cache)
		if err != nil {
			return err
		}
		b.direct = float64(slices.Max(direct)) / float64(one)
		b.cache = float64(slices.Max(cached)) / float64(one)
		return nil
	})
}

// withoutShoal calls measure with a cluster that has a registry and a cache.
func (c config) withoutShoal(ctx context.Context, s scenario, measure func(*testbed.Cluster) error) (err error) {
	o := c.options(s)
	o.Nodes, o.Spare, o.NoSupernode, o.Cache = 0, s.Nodes, true, true
	cluster, err := testbed.New(ctx, o)
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if err != nil {
		return err
	}
	if err := push(ctx, cluster, s); err != nil {
		return err
	}
	return measure(cluster)
}
