package swarmsim

import (
	"time"

	"github.com/shoal-p2p/shoal/p2p/picker"
)

// offer is a piece held out to a neighbour.
type offer struct {
	picker.Offer
	l        *link // on which it was made
	from, to *node
	b        *blob // the receiver's
	at       time.Duration
}

// offer holds out what the picker chose.
func (n *node) offer(p picker.Offer) {
	to := n.s.byID[p.Node]
	o := &offer{Offer: p, from: n, to: to, l: n.linkTo(to), b: to.blobs[n.s.blobIndex[p.Blob]], at: n.s.now}
	n.offers = append(n.offers, o)
	o.l.back.free = false // as the picker takes it
	n.s.at(o.l.send(), 0, func(int) { to.hearOffer(o) })
}

func (n *node) linkTo(peer *node) *link {
	for _, l := range n.links {
		if l.to == peer {
			return l
		}
	}
	return nil
}

// close ends the wait for an answer. It reports whether there was one to wait
// for.
func (n *node) close(o *offer) bool {
	before := len(n.offers)
	n.offers = without(n.offers, o)
	return len(n.offers) < before
}

func (n *node) hearOffer(o *offer) {
	s := n.s
	if n.silent {
		s.at(o.at+offerTimeout, 0, func(int) { o.from.hearReject(o, picker.Busy) })
		return
	}
	back := o.l.back
	back.saidFree = false // who offers takes the node for busy until it says more
	why := n.picker.Accept(o.Blob, o.Piece, o.from.seed)
	switch why {
	case picker.Accepted:
		o.b.word = nil
		n.slotsChanged()
		s.fetch(o)
		return
	case picker.Have:
		s.result.RejectedHave++
	case picker.Busy:
		s.result.RejectedBusy++
	}
	back.rouse()
	s.at(back.send(), 0, func(int) { o.from.hearReject(o, why) })
}

func (n *node) hearReject(o *offer, why picker.Reason) {
	if n.silent || !n.close(o) {
		return
	}
	n.listen() // what came before
	n.picker.Lost(o.Offer, why)
	n.picker.EndUpload(o.Offer)
	n.pump()
}

// transfer is a piece that was accepted.
type transfer struct {
	*offer
	s                *sim
	f                *flow
	size             float64
	up, down         slot    // the sender's, the receiver's
	upTail, downTail float64 // bytes before the end at which they are given back
	sendEnd, recvEnd bool    // the sender's, the receiver's part is over
}

// fetch asks for an accepted piece.
func (s *sim) fetch(o *offer) {
	t := &transfer{offer: o, s: s, size: float64(s.sc.PieceSize), up: slot{n: o.from, up: true, offer: o.Offer}, down: slot{n: o.to}}
	o.from.transfers, o.to.transfers = append(o.from.transfers, t), append(o.to.transfers, t)
	t.down.hold(o.to.down)
	if o.from.silent {
		t.breakOff(o.from)
		return
	}
	s.after(o.to.delay(), func(int) { t.send() })
}

// send starts to answer the request.
func (t *transfer) send() {
	if t.from.silent || t.to.silent || !t.from.close(t.offer) {
		return // the other end will notice
	}
	t.from.observeTrip(t.s.now - t.at)
	t.up.hold(t.from.up)
	t.upTail, t.downTail = t.from.tail(t.from.up), t.to.tail(t.to.down)
	t.f = t.s.startFlow(t.from, t.to, t.size, max(t.upTail, t.downTail))
	t.f.reached = t.moved
}

// observeTrip learns how long an answer takes.
func (n *node) observeTrip(d time.Duration) {
	if n.trip == 0 {
		n.trip, n.least = d, d
	}
	n.trip += (d - n.trip) / 8
	n.least = min(d, n.least+(d-n.least)/256)
}

// moved gives the slots back when a transfer is nearly done, so that the next
// piece can follow without a gap.
func (t *transfer) moved() {
	left := t.f.left
	if left <= 0 {
		t.sent()
		return
	}
	t.f.mark = 0
	if low := min(t.upTail, t.downTail); low < left {
		t.f.mark = low
	}
	t.f.retime()
	if left <= t.downTail {
		t.s.after(t.s.oneWay, func(int) { t.down.release() })
	}
	if left <= t.upTail {
		t.up.release()
	}
}

func (t *transfer) sent() {
	t.s.stopFlow(t.f)
	t.sendEnd = true
	t.from.transfers = without(t.from.transfers, t)
	t.s.after(t.s.oneWay, func(int) { t.land() })
	t.up.end()
	t.from.listen()
	t.from.picker.Delivered(t.Offer)
}

func (t *transfer) land() {
	if t.to.silent || t.recvEnd {
		return
	}
	t.down.end()
	t.receiverDone()
	if !t.from.seed {
		t.b.fed, t.to.fed = t.s.now, t.s.now
	}
	t.to.hold(t.b, t.Piece)
}

func (t *transfer) receiverDone() {
	t.recvEnd = true
	t.to.transfers = without(t.to.transfers, t)
	t.to.picker.Landed(t.Blob, t.Piece)
}

// breakOff stops a transfer because one of its ends fell silent. The other
// notices when the connection breaks, or when nothing has moved for a while.
func (t *transfer) breakOff(silent *node) {
	s := t.s
	if t.f != nil && !t.sendEnd {
		s.stopFlow(t.f)
		s.result.Wasted += t.size - t.f.left
		t.sendEnd = true
	}
	end, wait := t.takeBack, uploadStall
	if silent == t.from {
		end, wait = t.giveUp, t.to.stall
	}
	if silent.dead {
		wait = s.oneWay
	}
	s.after(wait, func(int) { end() })
}

// giveUp lets the receiver ask others for the piece.
func (t *transfer) giveUp() {
	if t.to.silent || t.recvEnd {
		return
	}
	t.down.end()
	t.receiverDone()
	t.to.rewindow()
}

// takeBack lets the sender offer the piece to others.
func (t *transfer) takeBack() {
	if t.from.silent {
		return
	}
	t.from.close(t.offer)
	t.from.transfers = without(t.from.transfers, t)
	t.up.end()
	t.from.listen()
	t.from.picker.Lost(t.Offer, picker.Busy)
	t.from.pump()
}
