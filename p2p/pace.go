package p2p

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// pace is what the node has seen of its link. Guarded by n.mu.
type pace struct {
	last int64     // bytes moved until then
	at   time.Time // when last was read
	best float64   // best rate in bytes per second
	trip time.Duration
}

const (
	// slowest bounds the time that a piece is thought to take, and with it
	// how long a transfer may stand still.
	slowest  = time.Second
	soonest  = 500 * time.Millisecond
	firstTau = 20 * time.Millisecond
)

// pieceTime is τ: how long one piece takes at the best rate seen. Callers hold
// n.mu.
func (n *Node) pieceTime(size int64) time.Duration {
	if n.pace.best < 1 {
		return firstTau
	}
	return time.Duration(float64(size) / n.pace.best * float64(time.Second))
}

// stallAfter is how long no byte of a piece may come before it is given up.
func (n *Node) stallAfter(size int64) time.Duration {
	return max(soonest, min(slowest, 3*n.pieceTime(size)))
}

// tail is how many bytes before its end a transfer gives its slot to the next:
// 5 % of the piece, or what passes in two round trips, but at most half.
// Callers hold n.mu.
func (n *Node) tail(length int64) int64 {
	inTrips := int64(2 * n.pace.trip.Seconds() * n.pace.best)
	return min(length/2, max(length/20, inTrips))
}

// observeTrip learns the round trip from an offer and its answer. Callers hold
// n.mu.
func (n *Node) observeTrip(d time.Duration) {
	if n.pace.trip == 0 {
		n.pace.trip = d
		return
	}
	n.pace.trip += (d - n.pace.trip) / 8
}

// adapt learns the link's rate and sets the number of slots. Callers hold n.mu.
func (n *Node) adapt(now time.Time) {
	moved := n.moved.Load()
	if d := now.Sub(n.pace.at); d > 0 && !n.pace.at.IsZero() {
		r := float64(moved-n.pace.last) / d.Seconds()
		n.pace.best = max(r, n.pace.best*0.999)
		n.picker.Adapt(r, n.pace.best)
	}
	n.pace.last, n.pace.at = moved, now
	n.slotsChanged()
	n.pump()
}

// limiter bounds bytes per second; the zero value does not.
type limiter struct{ *rate.Limiter }

func newLimiter(bytesPerSecond int64) limiter {
	if bytesPerSecond == 0 {
		return limiter{}
	}
	return limiter{rate.NewLimiter(rate.Limit(bytesPerSecond), max(chunk, int(bytesPerSecond/10)))}
}

func (l limiter) wait(ctx context.Context, n int) error {
	if l.Limiter == nil {
		return nil
	}
	return l.WaitN(ctx, n)
}

// tally counts bytes by source.
type tally struct {
	upstream, supernode, peer, store atomic.Int64
}

func (t *tally) of(source string) *atomic.Int64 {
	switch source {
	case "upstream":
		return &t.upstream
	case "supernode":
		return &t.supernode
	case "peer":
		return &t.peer
	}
	return &t.store
}

func (t *tally) add(source string, n int64) { t.of(source).Add(n) }
