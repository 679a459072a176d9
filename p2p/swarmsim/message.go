package swarmsim

import (
	"slices"
	"time"
)

// tell lets the neighbours know soon what the node holds and wants of a blob.
func (n *node) tell(b *blob) {
	if b.due || n.seed || !n.arrived || n.silent {
		return
	}
	b.due = true
	n.s.at(b.last+n.s.snapshotEvery, b.index, n.say)
}

func (n *node) tellAll() {
	for _, b := range n.blobs[:n.opened] {
		n.tell(b)
	}
}

// say sends the snapshot of a blob.
func (n *node) say(blob int) {
	if n.silent {
		return
	}
	b := n.blobs[blob]
	b.due, b.last = false, n.s.now
	word := snapshot{
		Have: n.picker.Offerable(b.id), Want: n.picker.Wanted(b.id),
		Lonely: n.lonely(), Starved: n.starved(),
	}
	n.s.after(n.s.oneWay, func(int) {
		h := &n.s.heard[n.index]
		h.seq++
		b.said, b.seq = word, h.seq
		n.rouse()
	})
}

// slotsChanged lets the neighbours know whether the node is free.
func (n *node) slotsChanged() {
	free := n.picker.Free()
	if n.seed || n.silent || free == n.saidFree {
		return
	}
	n.saidFree = free
	n.s.after(n.s.oneWay, func(int) {
		h := &n.s.heard[n.index]
		h.freeSeq++
		h.free = free
		if free {
			n.rouse()
		}
	})
}

// rouse lets the neighbours look whether they can send something now.
func (n *node) rouse() {
	for _, l := range n.links {
		if n.s.heard[l.peer.index].idle {
			l.peer.pump()
		}
	}
}

// listen takes what a neighbour has said since it was last listened to.
func (n *node) listen(l *link) {
	p := l.peer
	h := &n.s.heard[p.index]
	if l.freeSeq != h.freeSeq {
		l.freeSeq = h.freeSeq
		n.setFree(l, h.free)
	}
	if l.seq == h.seq {
		return
	}
	for _, b := range p.blobs {
		if b.seq > l.seq {
			n.picker.Observe(p.id, b.id, b.said)
		}
	}
	l.seq = h.seq
}

func (n *node) setFree(l *link, free bool) {
	if l.free != free {
		l.free = free
		n.picker.SetFree(l.peer.id, free)
	}
}

// pump makes all offers that can be made now.
func (n *node) pump() {
	idle := !n.silent && n.picker.CanOffer()
	n.s.heard[n.index].idle = idle
	if !idle {
		return
	}
	for i := range n.links {
		n.listen(&n.links[i])
	}
	for {
		o, ok := n.picker.NextOffer()
		if !ok {
			break
		}
		n.offer(o)
	}
	n.s.heard[n.index].idle = n.picker.CanOffer()
}

// fallSilent ends all that a node does. Its neighbours notice at once if its
// connections break, else when nothing has come for a while.
func (n *node) fallSilent(dead bool) {
	s := n.s
	if n.silent {
		return
	}
	n.silent, n.dead = true, dead
	s.expect()
	for _, t := range slices.Clone(n.transfers) {
		t.breakOff(n)
	}
	if dead {
		s.after(s.oneWay, func(int) { s.drop(n) })
		return
	}
	s.after(quietAfter+tick, func(int) {
		for _, l := range n.links {
			l.peer.picker.SetQuiet(n.id, true)
		}
		s.replace(n)
		n.rouse()
	})
	s.after(goneAfter+tick, func(int) { s.drop(n) })
}

const (
	tick         = 100 * time.Millisecond
	quietAfter   = time.Second
	goneAfter    = 5 * time.Second
	offerTimeout = 500 * time.Millisecond
	uploadStall  = 2 * time.Second
)
