package swarmsim

import (
	"slices"
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
	free     bool          // as the neighbour has it, offers of its own included

	speaks func(int) // speak, bound once
}

// report is what changed since the last one.
type report struct {
	l     *link
	at    time.Duration // when it arrives
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
	l.speaks = l.speak
	return l
}

// send returns when a message arrives that is sent now.
func (l *link) send() time.Duration {
	l.arrives = max(l.arrives, l.from.s.now+l.from.delay())
	return l.arrives
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
	r := report{l: l}
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
	r.at = l.send()
	l.to.inform(r)
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

// inform lets a report come to a node. What comes while the node can send
// nothing is read when it can, which is the same and takes less time.
func (n *node) inform(r report) {
	i := len(n.inbox)
	for i > 0 && n.inbox[i-1].at > r.at {
		i--
	}
	n.inbox = slices.Insert(n.inbox, i, r)
	n.await()
}

// await sets the event in which the next report is read.
func (n *node) await() {
	if len(n.inbox) > 0 && n.inbox[0].at < n.reads && !n.silent && n.picker.CanOffer() {
		n.reads = n.inbox[0].at
		n.s.at(n.reads, 0, n.read)
	}
}

func (n *node) read(int) {
	n.reads = never
	if n.listen() {
		n.pump()
	}
	n.await()
}

// listen takes the reports that have arrived. It tells whether there may be
// something new to offer.
func (n *node) listen() (news bool) {
	read := 0
	for _, r := range n.inbox {
		if r.at > n.s.now {
			break
		}
		read++
		if n.silent || r.l.gone {
			continue
		}
		for _, w := range r.words {
			n.picker.Observe(r.l.from.id, w.blob, w.Snapshot)
		}
		if r.slots {
			r.l.free = r.free
			n.picker.SetFree(r.l.from.id, r.free)
		}
		news = news || r.l.free || n.seed
	}
	n.inbox = slices.Delete(n.inbox, 0, read)
	return news
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
	if n.silent || !n.picker.CanOffer() {
		return
	}
	n.listen()
	for {
		o, ok := n.picker.NextOffer()
		if !ok {
			break
		}
		n.offer(o)
	}
	n.await()
}
