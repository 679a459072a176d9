package swarmsim

import (
	"math"
	"slices"
	"time"
)

// flow is the bytes of a transfer on their way.
type flow struct {
	s        *sim
	from, to *node
	left     float64       // bytes to send
	mark     float64       // of them, left when something is to be done
	rate     float64       // bytes per second
	at       time.Duration // when left was right

	due     time.Duration // when left reaches mark
	queued  time.Duration // when the event comes that looks at it
	version int           // of the event; an older one means nothing
	fire    func(version int)
	reached func() // left has reached mark
}

const never = time.Duration(math.MaxInt64)

// startFlow sends size bytes. reached is called when mark are left, and sets
// the next mark.
func (s *sim) startFlow(from, to *node, size, mark float64) *flow {
	f := &flow{s: s, from: from, to: to, left: size, mark: mark, at: s.now, queued: never}
	f.fire = f.look
	from.outs, to.ins = append(from.outs, f), append(to.ins, f)
	s.share(from, to)
	return f
}

// stopFlow takes a flow from its links.
func (s *sim) stopFlow(f *flow) {
	f.settle()
	f.version++
	f.from.outs = without(f.from.outs, f)
	f.to.ins = without(f.to.ins, f)
	s.share(f.from, f.to)
}

func without[T comparable](list []T, v T) []T {
	if i := slices.Index(list, v); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// share sets the rates of all flows from one node and to another. No others
// change with them.
func (s *sim) share(from, to *node) {
	for _, f := range from.outs {
		f.retime()
	}
	for _, f := range to.ins {
		f.retime()
	}
}

// settle counts what has been sent so far.
func (f *flow) settle() {
	sent := min(f.left, f.rate*(f.s.now-f.at).Seconds())
	f.left -= sent
	f.at = f.s.now
	f.from.sent += sent
	f.to.got += sent
}

// retime looks again at how fast a flow is, and when it reaches its mark. An
// event that comes too early is left to look again; only one that comes too
// late is set anew.
func (f *flow) retime() {
	f.settle()
	f.rate = min(f.from.up/float64(len(f.from.outs)), f.to.down/float64(len(f.to.ins)))
	f.due = f.at + seconds(max(0, f.left-f.mark)/f.rate) + 1 // rounded up
	if f.due < f.queued {
		f.version++
		f.queued = f.due
		f.s.at(f.due, f.version, f.fire)
	}
}

func (f *flow) look(version int) {
	if version != f.version {
		return
	}
	f.queued = never
	if f.s.now < f.due {
		f.queued = f.due
		f.s.at(f.due, f.version, f.fire)
		return
	}
	f.settle()
	f.left = min(f.left, f.mark)
	f.reached()
}
