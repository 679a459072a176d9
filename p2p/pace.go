package p2p

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/shoal-p2p/shoal/p2p/picker"
)

// pace is what the node has seen of its link. Guarded by n.mu.
type pace struct {
	up, down meter
	trip     time.Duration // how long the other side takes to answer
	least    time.Duration // the same, at best of late
	piece    int64         // size of the pieces of the newest blob
	slots    int
	overdue  int // transfers that have given their slot away
}

// meter is one direction of the link.
type meter struct {
	readings []reading // of late, oldest first
	best     float64   // best rate seen, in bytes per second; fades slowly
	sure     bool      // it comes from a whole span
}

type reading struct {
	at    time.Time
	moved int64 // bytes until then
}

// span is over how many readings a rate is taken. What several transfers hand to
// the kernel at once is counted at once: between two readings it may look several
// times as fast as the link.
const span = 8

func (m *meter) read(moved int64, now time.Time) {
	m.best *= 0.999
	if n := len(m.readings); n > 0 && m.readings[0].moved == m.readings[n-1].moved {
		m.readings = m.readings[n-1:] // it was idle
	}
	m.readings = append(m.readings, reading{now, moved})
	first := m.readings[0]
	d := now.Sub(first.at)
	if d <= 0 {
		return
	}
	rate, whole := float64(moved-first.moved)/d.Seconds(), len(m.readings) > span
	switch {
	case !m.sure:
		m.best, m.sure = rate, whole
	case whole:
		m.best = max(m.best, rate)
	}
	if whole {
		m.readings = m.readings[1:]
	}
}

// time is how long size bytes take at the best rate seen.
func (m *meter) time(size int64) time.Duration {
	if m.best < 1 {
		return firstTau
	}
	return time.Duration(float64(size) / m.best * float64(time.Second))
}

const (
	// slowest bounds the time that a piece is thought to take, and with it
	// how long a transfer may stand still.
	slowest  = time.Second
	soonest  = 800 * time.Millisecond // TCP takes 600 ms to send a packet a third time
	firstTau = 20 * time.Millisecond
	// lateAfter is how many times longer than it should a transfer may take
	// before it gives its slot to the next: the other side is slow then, and
	// this link idles. No more than maxLate do so at a time.
	lateAfter = 3
	maxLate   = 4
)

// tail is how many bytes before its end a transfer of length bytes gives its
// slot to the next: 5 % of the piece, or what passes in two round trips, but at
// most half.
func (p *pace) tail(m *meter, length int64) int64 {
	inTrips := int64(2 * p.trip.Seconds() * m.best / float64(p.slots))
	return min(length/2, max(length/20, inTrips))
}

// late is when a transfer of length bytes gives its slot to the next although
// it is not done. A node that does not know its link yet must not crowd it.
func (p *pace) late(m *meter, length int64) time.Duration {
	if m.best < 1 {
		return slowest
	}
	return max(tick, time.Duration(lateAfter*float64(p.slots)*float64(m.time(length))))
}

// pieceTime is τ: how long one piece takes at the best rate seen. Callers hold
// n.mu.
func (n *Node) pieceTime(size int64) time.Duration {
	return min(n.pace.up.time(size), n.pace.down.time(size))
}

// stallAfter is how long no byte of a piece may come before it is given up.
func (n *Node) stallAfter(size int64) time.Duration {
	return max(soonest, min(slowest, 3*n.pace.down.time(size)))
}

// observeTrip learns how long an answer takes. Callers hold n.mu.
func (n *Node) observeTrip(d time.Duration) {
	if n.pace.trip == 0 {
		n.pace.trip, n.pace.least = d, d
		return
	}
	n.pace.trip += (d - n.pace.trip) / 8
	n.pace.least = min(d, n.pace.least+(d-n.pace.least)/256)
}

// adapt learns the link's rates and sets the number of slots. Callers hold n.mu.
func (n *Node) adapt(now time.Time) {
	n.pace.up.read(n.uploaded.Load(), now)
	n.pace.down.read(n.downloaded.Load(), now)
	n.pace.slots = picker.Slots(n.pace.least.Seconds() / n.pieceTime(n.pace.piece).Seconds())
	n.picker.SetSlots(n.pace.slots)
	n.slotsChanged()
	n.pump()
}

// slot is what a transfer holds until it is done, nearly done, or late. Guarded
// by n.mu.
type slot struct {
	n     *Node
	free  func() // gives it back
	timer *time.Timer
	given bool // it has been given back
	late  bool // because the transfer was late
	over  bool // the transfer is
}

// holdSlot watches over a slot that has been taken. free is called with n.mu
// held, which callers hold too.
func (n *Node) holdSlot(late time.Duration, free func()) *slot {
	s := &slot{n: n, free: free}
	s.timer = time.AfterFunc(late, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !s.over && !s.given && n.pace.overdue < maxLate {
			s.late = true
			n.pace.overdue++
			s.giveBack()
		}
	})
	return s
}

func (s *slot) giveBack() {
	if !s.given {
		s.given = true
		s.free()
	}
}

// release gives the slot back, once.
func (s *slot) release() {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.giveBack()
}

// end gives the slot back when the transfer is over.
func (s *slot) end() {
	s.timer.Stop()
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.over = true
	s.giveBack()
	if s.late {
		s.n.pace.overdue--
	}
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
