package swarmsim

import (
	"time"

	"github.com/shoal-p2p/shoal/p2p/picker"
)

// link is what a node says to a neighbour. There are two between neighbours.
type link struct {
	from, to *node
	back     *link // the other way
	gone     bool

	told     int // the changes of which the neighbour has heard
	reported time.Duration
	saidFree bool          // what it was told last
	wake     time.Duration // when speak comes
	arrives  time.Duration // when the last message does; none overtakes it
	reports  []report      // on their way
	free     bool          // what it takes from for, if that is no offer of its own

	speaks, comes func(int) // speak and hear, bound once
}

// report is what changed since the last one.
type report struct {
	words []*word
	slots bool // free says something new
	free  bool
}

// word is a snapshot of a blob.
type word struct {
	blob string
	picker.Snapshot
}

func newLink(from, to *node) *link {
	l := &link{from: from, to: to, reported: -time.Hour, wake: never}
	l.speaks, l.comes = l.speak, l.hear
	return l
}

// send sets the event in which a message arrives.
func (l *link) send(do func(int)) {
	s := l.from.s
	l.arrives = max(l.arrives, s.now+l.from.delay())
	s.at(l.arrives, 0, do)
}

// delay is how long what a node says now is on its way.
func (n *node) delay() time.Duration {
	if len(n.out.flows) == 0 {
		return n.s.oneWay
	}
	return n.s.oneWay + n.queue
}

// tell lets the neighbours know with the next reports what the node holds and
// wants of a blob.
func (n *node) tell(b *blob) {
	if n.seed || !n.arrived || n.silent {
		return
	}
	n.changes++
	b.changed = n.changes
	for _, l := range n.links {
		l.rouse()
	}
}

func (n *node) tellAll() {
	for _, b := range n.blobs[:n.opened] {
		n.tell(b)
	}
}

// stale reports whether there is something to report.
func (l *link) stale() bool {
	return l.told < l.from.changes || l.saidFree != l.from.picker.Free()
}

// rouse sets the time of the next report, if there will be one.
func (l *link) rouse() {
	n := l.from
	if l.wake != never || n.seed || n.silent || l.gone || !l.stale() {
		return
	}
	l.wake = max(n.s.now, l.reported+n.reportEvery)
	n.s.at(l.wake, 0, l.speaks)
}

func (l *link) speak(int) {
	l.wake = never
	if n := l.from; !n.silent && n.s.now >= l.reported+n.reportEvery {
		l.report()
	}
	l.rouse()
}

// report tells what the node holds and wants, and whether it is free.
func (l *link) report() {
	n := l.from
	var r report
	if l.told < n.changes {
		for _, b := range n.blobs[:n.opened] {
			if b.changed > l.told {
				r.words = append(r.words, n.wordOn(b))
			}
		}
		l.told = n.changes
	}
	r.free = n.picker.Free()
	r.slots = r.free != l.saidFree
	l.saidFree = r.free
	if r.words == nil && !r.slots || l.gone {
		return
	}
	l.reported = n.s.now
	l.reports = append(l.reports, r)
	l.send(l.comes)
}

// wordOn returns a snapshot of a blob as it is.
func (n *node) wordOn(b *blob) *word {
	lonely, starved := n.lonely(), n.starved(b)
	if w := b.word; w == nil || w.Lonely != lonely || w.Starved != starved {
		b.word = &word{blob: b.id, Snapshot: picker.Snapshot{
			Have: n.picker.Offerable(b.id), Want: n.picker.Wanted(b.id), Lonely: lonely, Starved: starved,
		}}
	}
	return b.word
}

// hear takes the next report that arrives.
func (l *link) hear(int) {
	r := l.reports[0]
	l.reports = l.reports[:copy(l.reports, l.reports[1:])]
	n := l.to
	if n.silent || l.gone {
		return
	}
	for _, w := range r.words {
		n.picker.Observe(l.from.id, w.blob, w.Snapshot)
	}
	if r.slots {
		l.free = r.free
		n.picker.SetFree(l.from.id, r.free)
	}
	if l.free || n.seed { // else there is nothing new to offer
		n.pump()
	}
}

// slotsChanged lets some neighbours hear at once that the node is free, the
// seed among them; the others hear it with the next report.
func (n *node) slotsChanged() {
	if n.seed || n.silent || !n.picker.Free() || len(n.links) == 0 {
		return
	}
	told, first := 0, n.s.rand.IntN(len(n.links))
	for i := range n.links {
		l := n.links[(first+i)%len(n.links)]
		if l.saidFree || !l.to.seed && told == hurried {
			continue
		}
		if !l.to.seed {
			told++
		}
		l.report()
	}
}

// pump makes all offers that can be made now.
func (n *node) pump() {
	for !n.silent {
		o, ok := n.picker.NextOffer()
		if !ok {
			return
		}
		n.offer(o)
	}
}
