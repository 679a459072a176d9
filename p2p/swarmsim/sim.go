package swarmsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// sim is a swarm while it runs.
type sim struct {
	clock
	sc     Scenario
	rand   *rand.Rand
	nodes  []*node // the last is the seed
	seed   *node
	result Result

	oneWay time.Duration

	members   []*node // who has joined, in order of arrival
	ripple    []*end  // see share
	byID      map[string]*node
	blobIndex map[string]int
	waiting   int // nodes that may still finish
}

// limit is how many bounds a swarm may take before it counts as stuck.
const limit = 100

// Run plays a scenario to its end: until every node has all pieces, is dead or
// is frozen. A scenario that is not valid, or does not end, is an error.
func Run(sc Scenario) (Result, error) {
	s, err := play(sc, nil)
	if err != nil {
		return Result{}, err
	}
	return s.summary(), nil
}

// play runs a scenario and takes samples at the times of others, or every
// SampleEvery. What would be sampled after the end is sampled at the end.
func play(sc Scenario, times []Sample) (*sim, error) {
	if err := sc.Validate(); err != nil {
		return nil, err
	}
	s := newSim(sc.withDefaults())
	switch {
	case len(times) > 0:
		for _, x := range times {
			s.at(seconds(x.At), 0, s.sample)
		}
	case sc.SampleEvery > 0:
		s.after(0, s.sampleOn)
	}
	end := time.Duration(0)
	for i, n := range s.sc.Nodes {
		bound := min(s.sc.bound(i)*limit, maxTime.Seconds()*limit)
		end = max(end, n.Arrive+time.Duration(bound*float64(time.Second))+time.Minute)
	}
	for s.waiting > 0 {
		if !s.step() || s.now > end || s.ran > maxEvents {
			return nil, fmt.Errorf("swarmsim: %d nodes are stuck at %v", s.waiting, s.now)
		}
	}
	for len(s.result.Samples) < len(times) {
		s.sample(0)
	}
	return s, nil
}

func newSim(sc Scenario) *sim {
	s := &sim{sc: sc, oneWay: sc.RTT / 2, byID: map[string]*node{}, blobIndex: map[string]int{}}
	s.rand = s.source(1 << 32)
	for i := range len(sc.Nodes) + 1 {
		n := newNode(s, i)
		s.nodes = append(s.nodes, n)
		s.byID[n.id] = n
	}
	s.seed = s.nodes[len(sc.Nodes)]
	for _, b := range s.seed.blobs {
		s.blobIndex[b.id] = b.index
	}
	for i, n := range sc.Nodes {
		s.at(n.Arrive+sc.RTT, i, func(i int) { s.join(s.nodes[i]) })
		if n.Dies > 0 {
			s.at(n.Dies, i, func(i int) { s.nodes[i].fallSilent(true) })
		}
		if n.Freezes > 0 {
			s.at(n.Freezes, i, func(i int) { s.nodes[i].fallSilent(false) })
		}
	}
	s.waiting = len(sc.Nodes)
	s.readUpstream()
	s.after(tick, s.tick)
	return s
}

// source returns a source of chance of its own for each use.
func (s *sim) source(use uint64) *rand.Rand { return rand.New(rand.NewPCG(s.sc.Seed, use)) }

// seconds is a time that is never so long that adding some overflows.
func seconds(s float64) time.Duration { return time.Duration(min(s, 1e9) * float64(time.Second)) }

// readUpstream gives the seed its pieces: of the first blobs in turn, as many
// as a node has open, each in order.
func (s *sim) readUpstream() {
	start := s.sc.Nodes[0].Arrive
	for _, n := range s.sc.Nodes {
		start = min(start, n.Arrive)
	}
	blobs, read := slices.Clone(s.seed.blobs), make([]int, len(s.seed.blobs))
	for took := 1; len(blobs) > 0; {
		open := slices.Clone(blobs[:min(len(blobs), s.sc.Parallel)])
		for _, b := range open {
			at := float64(took) * float64(s.sc.PieceSize) / s.sc.UpstreamRate
			s.at(start+seconds(at), read[b.index], func(i int) { s.seed.hold(b, i) })
			took++
			if read[b.index]++; read[b.index] == s.sc.Blobs[b.index] {
				blobs = without(blobs, b)
			}
		}
	}
}

// tick lets every node look.
func (s *sim) tick(int) {
	for _, n := range s.members {
		if !n.silent {
			n.look()
		}
	}
	s.seed.look()
	s.after(tick, s.tick)
}

// finished counts a node that has all.
func (s *sim) finished(n *node) {
	if !n.seed {
		s.waiting--
	}
}

// expect counts again who may still finish.
func (s *sim) expect() {
	s.waiting = 0
	for _, n := range s.nodes {
		if !n.seed && !n.silent && n.missing > 0 {
			s.waiting++
		}
	}
}
