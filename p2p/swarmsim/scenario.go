package swarmsim

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Scenario is what happens to a swarm.
type Scenario struct {
	Nodes []Node `json:"nodes"`
	// Rate is what every link carries in each direction, the seed's included,
	// in bytes per second.
	Rate float64 `json:"rate"`
	// UpstreamRate is how fast the seed gets the pieces in order, of as many
	// blobs in turn as a node has open, in bytes per second; 0 means Rate.
	UpstreamRate float64 `json:"upstream_rate,omitempty"`
	// Blobs are the numbers of pieces of the blobs, in the order in which
	// every node wants them.
	Blobs []int `json:"blobs"`
	// Parallel is how many blobs a node has open at a time; 0 means all.
	Parallel int `json:"parallel,omitempty"`
	// PieceSize is in bytes.
	PieceSize int64 `json:"piece_size"`
	// RTT is the round trip between any two nodes.
	RTT time.Duration `json:"rtt_ns"`
	// Queue is how many bytes of pieces are in the kernel's queues of a node
	// that sends some. What it says meanwhile must pass them first. A real
	// node bounds them, to 64 KiB or 5 ms: see backlog in package p2p.
	Queue int64 `json:"queue,omitempty"`
	// Neighbours is how many peers a node meets when it arrives; 0 means 16.
	Neighbours int `json:"neighbours,omitempty"`
	// Window is how many pieces a node asks for, over all open blobs; 0 means
	// 128.
	Window int `json:"window,omitempty"`
	// Seed is the source of all chance.
	Seed uint64 `json:"seed,omitempty"`
	// SampleEvery is the time between two samples; 0 takes none.
	SampleEvery time.Duration `json:"sample_every_ns,omitempty"`
}

// Node is one peer of a [Scenario].
type Node struct {
	// Arrive is when it asks the seed for the blobs.
	Arrive time.Duration `json:"arrive_ns,omitempty"`
	// Dies is when its process ends, and its connections with it; 0 means
	// never.
	Dies time.Duration `json:"dies_ns,omitempty"`
	// Freezes is when it falls silent while its connections stay; 0 means
	// never.
	Freezes time.Duration `json:"freezes_ns,omitempty"`
	// Up and Down are the rates of its link in bytes per second; 0 means the
	// scenario's.
	Up   float64 `json:"up,omitempty"`
	Down float64 `json:"down,omitempty"`
}

// Crowd returns n nodes that arrive at the same time.
func Crowd(n int) []Node { return make([]Node, n) }

// What is bounded, so that a file cannot make the simulator take all memory.
const (
	maxNodes  = 10_000
	maxBlobs  = 256
	maxPieces = 1 << 16 // of one blob
	maxHeld   = 1 << 23 // pieces on all nodes together
	maxRate   = 1e12
	maxTime   = 24 * time.Hour
	maxRTT    = offerTimeout / 2
	maxQueue  = 1 << 30
	maxEvents = 1 << 28
)

// Validate says what is wrong with a scenario.
func (sc Scenario) Validate() error {
	if len(sc.Nodes) == 0 || len(sc.Nodes) > maxNodes {
		return fmt.Errorf("swarmsim: %d nodes: 1 to %d are possible", len(sc.Nodes), maxNodes)
	}
	if len(sc.Blobs) == 0 || len(sc.Blobs) > maxBlobs {
		return fmt.Errorf("swarmsim: %d blobs: 1 to %d are possible", len(sc.Blobs), maxBlobs)
	}
	pieces := 0
	for i, n := range sc.Blobs {
		if n < 1 || n > maxPieces {
			return fmt.Errorf("swarmsim: blob %d has %d pieces: 1 to %d are possible", i, n, maxPieces)
		}
		pieces += n
	}
	if pieces*len(sc.Nodes) > maxHeld {
		return fmt.Errorf("swarmsim: %d pieces on %d nodes are more than %d", pieces, len(sc.Nodes), maxHeld)
	}
	if sc.PieceSize < 1 || sc.PieceSize > 1<<30 {
		return fmt.Errorf("swarmsim: piece_size is %d: 1 to %d bytes are possible", sc.PieceSize, 1<<30)
	}
	if sc.Queue < 0 || sc.Queue > maxQueue {
		return fmt.Errorf("swarmsim: queue is %d: 0 to %d bytes are possible", sc.Queue, maxQueue)
	}
	if sc.Rate == 0 {
		return errors.New("swarmsim: rate is missing")
	}
	if sc.RTT < 0 || sc.RTT > maxRTT {
		return fmt.Errorf("swarmsim: rtt_ns is %v: 0 to %v are possible", sc.RTT, maxRTT)
	}
	if sc.SampleEvery != 0 && sc.SampleEvery < time.Millisecond {
		return fmt.Errorf("swarmsim: sample_every_ns is %v: 0, or at least 1ms", sc.SampleEvery)
	}
	if err := cmp.Or(
		checkReal("rate", sc.Rate, 1, maxRate),
		checkReal("upstream_rate", sc.UpstreamRate, 1, maxRate),
		checkCount("parallel", sc.Parallel),
		checkCount("neighbours", sc.Neighbours),
		checkCount("window", sc.Window),
		checkTime("sample_every_ns", sc.SampleEvery),
	); err != nil {
		return err
	}
	for i, n := range sc.Nodes {
		if err := n.validate(); err != nil {
			return fmt.Errorf("%w, of node %d", err, i)
		}
	}
	return nil
}

func (n Node) validate() error {
	return cmp.Or(
		checkTime("arrive_ns", n.Arrive),
		checkTime("dies_ns", n.Dies),
		checkTime("freezes_ns", n.Freezes),
		checkReal("up", n.Up, 1, maxRate),
		checkReal("down", n.Down, 1, maxRate),
	)
}

func checkTime(name string, d time.Duration) error {
	if d < 0 || d > maxTime {
		return fmt.Errorf("swarmsim: %s is %v: 0 to %v are possible", name, d, maxTime)
	}
	return nil
}

func checkCount(name string, n int) error {
	if n < 0 || n > maxHeld {
		return fmt.Errorf("swarmsim: %s is %d: 0 to %d are possible", name, n, maxHeld)
	}
	return nil
}

// checkReal allows 0, which stands for a default.
func checkReal(name string, v, least, most float64) error {
	if v != 0 && !(v >= least && v <= most) { // NaN is neither
		return fmt.Errorf("swarmsim: %s is %g: 0, or %g to %g are possible", name, v, least, most)
	}
	return nil
}

// withDefaults fills in what is 0.
func (sc Scenario) withDefaults() Scenario {
	set(&sc.UpstreamRate, sc.Rate)
	set(&sc.Parallel, len(sc.Blobs))
	set(&sc.Neighbours, 16)
	set(&sc.Window, 128)
	nodes := make([]Node, len(sc.Nodes))
	for i, n := range sc.Nodes {
		set(&n.Up, sc.Rate)
		set(&n.Down, sc.Rate)
		nodes[i] = n
	}
	sc.Nodes = nodes
	return sc
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// pieces is the number of pieces of all blobs.
func (sc Scenario) pieces() int {
	n := 0
	for _, b := range sc.Blobs {
		n += b
	}
	return n
}

// bytes is the size of all blobs.
func (sc Scenario) bytes() float64 { return float64(sc.pieces()) * float64(sc.PieceSize) }

// bound is the least time in seconds in which node i can have all bytes. A
// scenario's defaults are set.
func (sc Scenario) bound(i int) float64 {
	return sc.bytes() / min(sc.Rate, sc.UpstreamRate, sc.Nodes[i].Down)
}
