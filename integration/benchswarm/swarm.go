package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/p2p/swarmsim"
)

// outcome is what a run of a swarm gave.
type outcome struct {
	times     []time.Duration // by node, from its own arrival; 0: it died
	upstream  int64           // blob bytes sent by the registry
	supernode int64           // piece bytes sent by the supernode
	moved     int64           // blob bytes received by nodes that finished
	wasted    int64           // of these, received in vain
	cpu       time.Duration   // of agents and supernode
	agent     int64           // largest resident set of an agent
	super     int64           // resident set of the supernode at its peak
	busy      float64         // share of the machine's processors in use
	samples   []swarmsim.Sample
}

func (c config) options(s scenario) testbed.Options {
	o := testbed.Options{
		Shoal: c.shoal, Nodes: s.Nodes, Store: "local", Rate: s.Rate, AgentFlags: c.agentFlags,
		RegistryRate: int64(s.Registry * float64(s.Rate)),
	}
	for range s.Slow {
		o.NodeRates = append(o.NodeRates, s.Rate/10)
	}
	return o
}

// swarm pulls on all nodes through Shoal. bound tells when half-way is.
func (c config) swarm(ctx context.Context, s scenario, bound time.Duration) (out outcome, err error) {
	cluster, err := testbed.New(ctx, c.options(s))
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if err != nil {
		return out, err
	}
	if err := push(ctx, cluster, s); err != nil {
		return out, err
	}
	daemons := []*testbed.Process{cluster.Supernode}
	for _, n := range cluster.Nodes {
		daemons = append(daemons, n.Agent)
	}
	if s.Rate == 0 {
		if err := floor.Touch(); err != nil {
			return out, err
		}
	}
	for _, p := range daemons {
		out.cpu -= p.CPU()
	}
	begin := readProcStat()

	running, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	if c.sampleEvery > 0 {
		wg.Go(func() { out.samples = watch(running, cluster, c.sampleEvery) })
	}
	victim := cluster.Nodes[s.Nodes-1]
	var died error
	wg.Go(func() {
		select {
		case <-time.After(bound / 2):
		case <-running.Done():
			return
		}
		switch {
		case s.Kill:
			victim.Agent.Kill()
		case s.Freeze:
			victim.Agent.Freeze()
		case s.KillSupernode:
			out.supernode, died = seeded(ctx, cluster)
			cluster.Supernode.Kill()
		}
	})
	out.times, err = c.pullAll(running, cluster, s, mirror)
	stop()
	wg.Wait()
	if err = errors.Join(err, died); err != nil {
		return out, err
	}

	out.busy = busySince(begin)
	for _, p := range daemons {
		out.cpu += p.CPU()
	}
	out.upstream = cluster.Upstream.Sent()
	if !s.KillSupernode {
		if out.supernode, err = seeded(ctx, cluster); err != nil {
			return out, err
		}
		if out.super, err = cluster.Supernode.PeakMemory(); err != nil {
			return out, err
		}
	}
	for k, n := range cluster.Nodes {
		if out.times[k] == 0 {
			continue
		}
		got := int64(0)
		for _, source := range []string{"upstream", "supernode", "peer"} {
			v, err := n.Bytes(ctx, source)
			if err != nil {
				return out, err
			}
			got += v
		}
		out.moved += got
		out.wasted += got - s.Bytes/int64(s.Layers)*int64(s.Layers)
		peak, err := n.Agent.PeakMemory()
		if err != nil {
			return out, err
		}
		out.agent = max(out.agent, peak)
	}
	if c.keepLogs != "" {
		err = keep(daemons, c.keepLogs)
	}
	return out, err
}

// seeded is how many bytes of pieces the supernode has sent.
func seeded(ctx context.Context, c *testbed.Cluster) (int64, error) {
	v, err := c.SupernodeMetric(ctx, "shoal_seed_bytes_total")
	return int64(v), err
}

// pullAll pulls on all nodes, each at its time. The victim may fail.
func (c config) pullAll(ctx context.Context, cluster *testbed.Cluster, s scenario, f from) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	times, errs := make([]time.Duration, s.Nodes), make([]error, s.Nodes)
	var wg, judged sync.WaitGroup
	for k, n := range cluster.Nodes {
		count := &wg
		if s.judged(k) || f != mirror {
			count = &judged
		}
		count.Go(func() {
			select {
			case <-time.After(s.arrival(k)):
			case <-ctx.Done():
			}
			times[k], errs[k] = pull(ctx, n, f, s)
			if errs[k] != nil {
				times[k] = 0
				if count == &wg {
					errs[k] = nil
				}
			}
		})
	}
	judged.Wait()
	cancel() // a victim never finishes, and slow nodes take ten times as long
	wg.Wait()
	return times, errors.Join(errs...)
}

func keep(daemons []*testbed.Process, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range daemons {
		data, err := os.ReadFile(p.Log)
		if err != nil {
			return err
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%s.log", dir, p.Name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
