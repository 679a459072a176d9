package swarmsim

// Result is how a scenario went.
type Result struct {
	// Finish is when each node had all pieces, in seconds from its arrival; 0
	// if it never had.
	Finish []float64 `json:"finish"`
	// Ratio is Finish by the node's own bound: 1 is the best that can be.
	Ratio []float64 `json:"ratio"`
	// Last and Mean are the largest and the mean of Ratio over those that
	// finished.
	Last float64 `json:"last"`
	Mean float64 `json:"mean"`
	// Seed is what the seed sent, and Wasted what was sent and led to nothing,
	// both by the size of all blobs.
	Seed   float64 `json:"seed"`
	Wasted float64 `json:"wasted"`
	// RejectedHave and RejectedBusy count offers that were declined.
	RejectedHave int `json:"rejected_have"`
	RejectedBusy int `json:"rejected_busy"`
	// Uplink is the share of the nodes' uplinks that was used, until the last
	// one had finished.
	Uplink float64 `json:"uplink"`
	// Samples are taken every SampleEvery from the start.
	Samples []Sample `json:"samples,omitempty"`
	// Events is how many events the simulator ran.
	Events int `json:"events"`
}

// Sample is the state of a swarm at a time.
type Sample struct {
	At   float64 `json:"at"`   // seconds from the start
	Held []int   `json:"held"` // pieces on each node
}

func (s *sim) sample(int) {
	x := Sample{At: s.now.Seconds()}
	for _, n := range s.nodes[:len(s.sc.Nodes)] {
		x.Held = append(x.Held, s.sc.pieces()-n.missing)
	}
	s.result.Samples = append(s.result.Samples, x)
}

func (s *sim) sampleOn(int) {
	s.sample(0)
	if len(s.result.Samples)*len(s.sc.Nodes) < maxSamples {
		s.after(s.sc.SampleEvery, s.sampleOn)
	}
}

func (s *sim) summary() Result {
	r := s.result
	size := s.sc.bytes()
	var sent, could float64
	finish := make([]float64, len(s.sc.Nodes))
	for i, n := range s.nodes[:len(s.sc.Nodes)] {
		arrive := s.sc.Nodes[i].Arrive
		sent += n.sent
		could += n.up * (s.now - arrive).Seconds()
		if n.missing == 0 {
			finish[i] = (n.finish - arrive).Seconds()
		}
	}
	r.judge(s.sc, finish)
	r.Seed = s.seed.sent / size
	r.Wasted /= size
	r.Uplink = sent / could
	r.Events = s.ran
	return r
}

// judge compares what the nodes took with their bounds. The scenario's defaults
// are set.
func (r *Result) judge(sc Scenario, finish []float64) {
	r.Finish = finish
	finished := 0
	for i, took := range finish {
		ratio := took / sc.bound(i)
		r.Ratio = append(r.Ratio, ratio)
		r.Last = max(r.Last, ratio)
		r.Mean += ratio
		if took > 0 {
			finished++
		}
	}
	r.Mean /= float64(max(1, finished))
}
