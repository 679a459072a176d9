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
	from.out.flows, to.in.flows = append(from.out.flows, f), append(to.in.flows, f)
	s.share(&from.out, &to.in)
	return f
}

// stopFlow takes a flow from its links.
func (s *sim) stopFlow(f *flow) {
	f.settle()
	f.version++
	f.from.out.flows = without(f.from.out.flows, f)
	f.to.in.flows = without(f.to.in.flows, f)
	s.share(&f.from.out, &f.to.in)
}

func without[T comparable](list []T, v T) []T {
	if i := slices.Index(list, v); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// end is one direction of a node's link, and the flows on it.
type end struct {
	capacity float64 // bytes per second
	level    float64 // what a flow gets if its other end allows for it
	flows    []*flow
	up       bool
	queued   bool
}

func (f *flow) other(e *end) *end {
	if e.up {
		return &f.to.in
	}
	return &f.from.out
}

// fill returns the level at which the flows use up the capacity, as far as
// their other ends allow for it.
func (e *end) fill() float64 {
	var few [16]float64
	caps := few[:0]
	for _, f := range e.flows {
		caps = append(caps, f.other(e).level)
	}
	slices.Sort(caps)
	rest := e.capacity
	for i, most := range caps {
		if share := rest / float64(len(caps)-i); most >= share {
			return share
		}
		rest -= most
	}
	return e.capacity
}

// maxRipple bounds how many ends are looked at when a flow begins or stops.
const maxRipple = 64

// share sets the rates anew after a flow between two ends has begun or stopped.
// A change goes on to others as far as it matters to them.
func (s *sim) share(from, to *end) {
	s.ripple = append(s.ripple[:0], from, to)
	for i := 0; i < len(s.ripple); i++ {
		e := s.ripple[i]
		e.queued = false
		before := e.level
		if e.level = e.fill(); i > maxRipple || math.Abs(e.level-before) < before/64 {
			continue
		}
		for _, f := range e.flows {
			if o := f.other(e); !o.queued && o.level > min(e.level, before) {
				o.queued = true
				s.ripple = append(s.ripple, o)
			}
		}
	}
	for _, e := range s.ripple {
		for _, f := range e.flows {
			f.retime()
		}
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
	if rate := min(f.from.out.level, f.to.in.level); rate != f.rate {
		f.settle()
		f.rate = rate
	}
	f.wait()
}

// wait sets the event in which a flow reaches its mark.
func (f *flow) wait() {
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
