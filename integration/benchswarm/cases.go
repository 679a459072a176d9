package main

import (
	"fmt"
	"strings"
	"time"
)

// scenario is one swarm and what happens to it.
type scenario struct {
	Name  string
	About string
	Nodes int
	Bytes int64 // of the blob, or of all layers of the image
	// Layers of equal size; Parallel of them are pulled at a time, as
	// containerd does.
	Layers, Parallel int
	Rate             int64   // of every link, bits per second each way; 0: unshaped
	Registry         float64 // rate of the registry's link ÷ Rate
	// Stagger spreads the arrivals evenly over so many times Bytes ÷ Rate.
	Stagger float64
	// Slow nodes have links of a tenth of Rate. Their time is not judged.
	Slow int
	// What happens half-way through the bound, to the last node but for the
	// supernode.
	Kill, Freeze, KillSupernode bool

	Goal float64 // last node ÷ bound; 0: none
	Mean float64 // mean node ÷ bound; 0: none
}

const mib = 1 << 20

// scenarios is what the project promises.
func scenarios(rate int64) []scenario {
	small := scenario{Nodes: 8, Bytes: 128 * mib, Layers: 1, Parallel: 3, Rate: rate, Registry: 1}
	// Twice the nodes move twice the bytes, and speak with twice as many
	// others: at 3/8 of the rate two processors are not the limit.
	large := small
	large.Nodes, large.Bytes, large.Rate = 16, 256*mib, rate*3/8
	of := func(s scenario, name, about string, goal float64, change func(*scenario)) scenario {
		s.Name, s.About, s.Goal = name, about, goal
		if change != nil {
			change(&s)
		}
		return s
	}
	return []scenario{
		of(small, "8", "8 nodes, all at once", 1.10, nil),
		of(large, "16", "16 nodes, all at once", 1.10, nil),
		of(large, "image", "an image of 8 layers", 1.10, func(s *scenario) { s.Layers = 8 }),
		of(large, "stagger", "arrivals spread over S÷B", 1.35, func(s *scenario) { s.Stagger, s.Mean = 1, 1.08 }),
		of(large, "slow", "2 nodes at B÷10; the others", 1.20, func(s *scenario) { s.Slow = 2 }),
		of(large, "death", "a node dies half-way; the others", 1.20, func(s *scenario) { s.Kill = true }),
		of(large, "freeze", "a node freezes half-way; the others", 0, func(s *scenario) { s.Freeze = true }),
		of(small, "upstream", "the upstream's link at 0.3 B", 1.06, func(s *scenario) { s.Registry = 0.3 }),
		of(small, "supernode", "the supernode dies half-way", 0, func(s *scenario) { s.KillSupernode = true }),
		of(small, "unshaped", "4 nodes, no shaping", 0, func(s *scenario) { s.Nodes, s.Bytes, s.Rate = 4, 1024*mib, 0 }),
	}
}

// shape is what the baselines depend on.
func (s scenario) shape() string {
	return fmt.Sprintf("%d nodes, %d MiB in %d, %d bit/s, × %.1f", s.Nodes, s.Bytes/mib, s.Layers, s.Rate, s.Registry)
}

func (s scenario) plain() time.Duration {
	if s.Rate == 0 {
		return 0
	}
	return time.Duration(float64(s.Bytes*8) / float64(s.Rate) * float64(time.Second))
}

// arrival is when a node begins to pull.
func (s scenario) arrival(k int) time.Duration {
	if s.Nodes < 2 {
		return 0
	}
	return time.Duration(s.Stagger * float64(s.plain()) * float64(k) / float64(s.Nodes-1))
}

// judged reports whether node k counts: the slow ones come first, and the last
// one dies.
func (s scenario) judged(k int) bool {
	return k >= s.Slow && !((s.Kill || s.Freeze) && k == s.Nodes-1)
}

func (s scenario) validate() error {
	switch {
	case s.Nodes < 1 || s.Nodes > 100:
		return fmt.Errorf("-n %d: it is 1 to 100", s.Nodes)
	case s.Layers < 1 || s.Layers > 100:
		return fmt.Errorf("-layers %d: it is 1 to 100", s.Layers)
	case s.Bytes < int64(s.Layers) || s.Bytes > 16<<30:
		return fmt.Errorf("-s %d: it is 1 to 16384 MiB", s.Bytes/mib)
	case s.Parallel < 1:
		return fmt.Errorf("-parallel %d: at least one layer at a time", s.Parallel)
	case s.Rate < 0 || s.Rate > 0 && s.Rate < 1e6:
		return fmt.Errorf("-b %d: 0, or at least 1 Mbit/s", s.Rate/1e6)
	case s.Registry <= 0:
		return fmt.Errorf("-upstream %g: it is more than 0", s.Registry)
	case s.Rate == 0 && (s.Stagger != 0 || s.Slow != 0 || s.Registry != 1):
		return fmt.Errorf("-stagger, -slow and -upstream need shaped links: give -b")
	case s.Stagger < 0:
		return fmt.Errorf("-stagger %g: it is not negative", s.Stagger)
	case s.Slow < 0 || s.Slow >= s.Nodes:
		return fmt.Errorf("-slow %d of %d nodes", s.Slow, s.Nodes)
	}
	return nil
}

// choose returns the named scenarios; "" is all of them.
func choose(all []scenario, names string) ([]scenario, error) {
	if names == "" {
		return all, nil
	}
	var out []scenario
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
next:
	for _, name := range strings.Split(names, ",") {
		for _, s := range all {
			if s.Name == name {
				out = append(out, s)
				continue next
			}
		}
		return nil, fmt.Errorf("-cases: %q is none of %s", name, strings.Join(known, ", "))
	}
	return out, nil
}
