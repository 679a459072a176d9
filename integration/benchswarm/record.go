package main

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/swarmsim"
)

// What the simulator assumes of the links: the round trip without queues, what
// the kernel queues before a message (p2p/socket.go), and what is left of a
// link's rate after packet headers and the other direction's acknowledgements.
const (
	simulatedRTT   = 500 * time.Microsecond
	simulatedQueue = 64 << 10
	payload        = 0.93
	// begunAhead are the layers that the mirror begins before they are asked for.
	begunAhead = 2
)

// recording describes a run to the simulator. It has no supernode that dies, and
// no links without a rate.
func (r row) recording() (swarmsim.Recording, bool) {
	s := r.scenario
	if s.Rate == 0 || s.KillSupernode {
		return swarmsim.Recording{}, false
	}
	rate := payload * float64(s.Rate) / 8
	layout := piece.LayoutFor(s.Bytes / int64(s.Layers))
	rec := swarmsim.Recording{
		Note: "measured by benchswarm: " + s.About,
		Scenario: swarmsim.Scenario{
			Rate: rate, UpstreamRate: rate * min(1, s.Registry), Parallel: s.Parallel + begunAhead,
			PieceSize: layout.PieceSize, RTT: simulatedRTT, Queue: simulatedQueue, Seed: 1,
		},
		Samples: r.outcome.samples,
	}
	for range s.Layers {
		rec.Scenario.Blobs = append(rec.Scenario.Blobs, layout.Count())
	}
	for k := range s.Nodes {
		n := swarmsim.Node{Arrive: s.arrival(k)}
		if k < s.Slow {
			n.Up, n.Down = rate/10, rate/10
		}
		if k == s.Nodes-1 && s.Kill {
			n.Dies = r.baseline.bound / 2
		}
		if k == s.Nodes-1 && s.Freeze {
			n.Freezes = r.baseline.bound / 2
		}
		rec.Scenario.Nodes = append(rec.Scenario.Nodes, n)
		rec.Seconds = append(rec.Seconds, r.outcome.times[k].Seconds())
	}
	return rec, true
}

// simulated is the last judged node of the simulator's run ÷ the bound; 0 if it
// cannot say.
func (r row) simulated() (float64, error) {
	rec, ok := r.recording()
	if !ok {
		return 0, nil
	}
	rec.Samples = nil
	c, err := swarmsim.Replay(rec)
	if err != nil {
		return 0, fmt.Errorf("simulating case %s: %w", r.scenario.Name, err)
	}
	last := 0.0
	for k, seconds := range c.Simulated.Finish {
		if r.scenario.judged(k) {
			last = max(last, seconds)
		}
	}
	return last / r.baseline.bound.Seconds(), nil
}

// watch samples how far the nodes are.
func watch(ctx context.Context, c *testbed.Cluster, every time.Duration) (out []swarmsim.Sample) {
	start := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		s := swarmsim.Sample{At: time.Since(start).Seconds(), Held: make([]int, len(c.Nodes))}
		for k, n := range c.Nodes {
			ask, cancel := context.WithTimeout(ctx, every)
			status, err := n.Status(ask)
			cancel()
			if err != nil { // dead, frozen, or the run has ended
				if len(out) > 0 {
					s.Held[k] = out[len(out)-1].Held[k]
				}
				continue
			}
			for _, t := range status.Tasks {
				s.Held[k] += t.Held
			}
		}
		if ctx.Err() != nil {
			return out
		}
		out = append(out, s)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return out
		}
	}
}
