package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

type bench struct {
	shoal, containerd string
	inside            string // folder of the containerd with the agent inside
	runs              int
	unpack            bool
}

// measure lets all ways take turns on two clusters, one of which has its agents
// inside containerd.
func (b *bench) measure(ctx context.Context, c testcase) (s samples, err error) {
	clusters := map[bool]*testbed.Cluster{}
	for _, inside := range []bool{false, true} {
		o := testbed.Options{Shoal: b.shoal, Containerd: b.containerd, Nodes: c.nodes, Rate: c.rate, NoSupernode: c.alone}
		if inside {
			o.Containerd, o.Builtin, o.Ingest = b.inside, true, "direct"
		}
		cluster, problem := testbed.New(ctx, o)
		defer func() { err = errors.Join(err, cluster.Close()) }()
		if problem != nil {
			return nil, problem
		}
		clusters[inside] = cluster
	}
	s = samples{}
	for k := range b.runs {
		for _, w := range ways {
			one, err := b.once(ctx, clusters[w.inside], c, w, fmt.Sprintf("%s-%s-%d", c.name, w.name, k))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			s[w.name] = append(s[w.name], one)
		}
	}
	return s, nil
}

// once measures a pull of an image of its own.
func (b *bench) once(ctx context.Context, cluster *testbed.Cluster, c testcase, w way, name string) (s sample, err error) {
	for _, n := range cluster.Nodes {
		if err := n.Agent.Terminate(); err != nil {
			return s, err
		}
		if err := n.StartAgent(ctx, w.flags...); err != nil {
			return s, err
		}
	}
	ref := testbed.Registry + "/bench/" + name + ":latest"
	img, err := testimage.Stored(name, c.layers, c.size)
	if err != nil {
		return s, err
	}
	if err := testimage.Push(ref, img, cluster.Upstream.Transport()); err != nil {
		return s, err
	}
	if c.rate == 0 {
		if err := floor.Touch(); err != nil {
			return s, err
		}
	}
	before, err := use(cluster)
	if err != nil {
		return s, err
	}
	took, err := b.pullAll(ctx, cluster.Nodes, ref, w)
	if err != nil {
		return s, err
	}
	settle(ctx, cluster)
	after, err := use(cluster)
	if err != nil {
		return s, err
	}
	all := float64(c.nodes) * float64(c.bytes())
	s = sample{
		took:       took,
		containerd: after.containerd - before.containerd,
		agent:      after.agent - before.agent,
		processes:  float64(after.processes-before.processes) / all,
		disk:       float64(after.disk-before.disk) / all,
	}
	return s, remove(ctx, cluster.Nodes, ref)
}

// settle waits until the daemons rest, at most ten seconds.
func settle(ctx context.Context, cluster *testbed.Cluster) {
	last := time.Duration(-1)
	for range 50 {
		sum := time.Duration(0)
		for _, n := range cluster.Nodes {
			sum += n.Agent.CPU() + n.Containerd.CPU()
		}
		if sum-last <= 10*time.Millisecond && last >= 0 {
			return
		}
		last = sum
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}
