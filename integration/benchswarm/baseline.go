package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// baseline is the same without Shoal, over the same links.
type baseline struct {
	bound time.Duration // one node alone, straight from the registry
	// The last of all nodes; 0 if it was not measured.
	direct time.Duration // straight from the registry
	cache  time.Duration // through a pull-through cache in the supernode's place
}

// measureBaseline takes the bound, and if all is set the others too.
func (c config) measureBaseline(ctx context.Context, s scenario, all bool) (b baseline, err error) {
	s.Stagger, s.Slow, s.Kill, s.Freeze, s.KillSupernode = 0, 0, false, false, false
	o := c.options(s)
	o.Nodes, o.Spare, o.NoSupernode, o.Cache = 0, s.Nodes, true, true
	cluster, err := testbed.New(ctx, o)
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if err != nil {
		return b, err
	}
	if err := push(ctx, cluster, s); err != nil {
		return b, err
	}
	if b.bound, err = pull(ctx, cluster.Nodes[0], registry, s); err != nil || !all {
		return b, err
	}
	for _, way := range []struct {
		from from
		last *time.Duration
	}{{registry, &b.direct}, {cache, &b.cache}} {
		times, err := c.pullAll(ctx, cluster, s, way.from)
		if err != nil {
			return b, err
		}
		*way.last = slices.Max(times)
	}
	return b, nil
}
