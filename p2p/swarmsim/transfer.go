package swarmsim

import "github.com/shoal-p2p/shoal/p2p/picker"

// offer is a piece held out to a neighbour.
type offer struct {
	picker.Offer
	from, to *node
	b        *blob // the receiver's
}

// offer holds out what the picker chose.
func (n *node) offer(p picker.Offer) {
	to := n.s.byID[p.Node]
	o := &offer{Offer: p, from: n, to: to, b: to.blobs[n.s.blobIndex[p.Blob]]}
	n.offers = append(n.offers, o)
	n.linkTo(to).free = false // as the picker takes it
	n.s.after(n.s.oneWay, func(int) { to.hearOffer(o) })
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
		s.after(offerTimeout-s.oneWay, func(int) { o.from.hearReject(o, picker.Busy) })
		return
	}
	why := n.picker.Accept(o.Blob, o.Piece)
	n.slotsChanged()
	if n.saidFree { // who offered takes the node for busy until it says more
		s.after(s.oneWay, func(int) { o.from.hearFree(n) })
	}
	switch why {
	case picker.Accepted:
		s.fetch(o)
		return
	case picker.Have:
		s.result.RejectedHave++
	case picker.Busy:
		s.result.RejectedBusy++
	}
	s.after(s.oneWay, func(int) { o.from.hearReject(o, why) })
}

// hearFree takes FREE of one neighbour that speaks to this node alone.
func (n *node) hearFree(from *node) {
	if l := n.linkTo(from); l != nil && !n.silent {
		n.listen(l)
		n.setFree(l, true)
		n.pump()
	}
}

func (n *node) hearReject(o *offer, why picker.Reason) {
	if n.silent || !n.close(o) {
		return
	}
	if l := n.linkTo(o.to); l != nil {
		n.listen(l)
	}
	n.picker.Lost(o.Offer, why)
	n.picker.EndUpload()
	n.pump()
}

// transfer is a piece that was accepted.
type transfer struct {
	*offer
	s                 *sim
	f                 *flow
	size              float64
	sendEnd, recvEnd  bool // the sender's, the receiver's part is over
	sendSlot, gotSlot bool // given back
}

// fetch asks for an accepted piece.
func (s *sim) fetch(o *offer) {
	t := &transfer{offer: o, s: s, size: float64(s.sc.PieceSize)}
	o.from.transfers, o.to.transfers = append(o.from.transfers, t), append(o.to.transfers, t)
	if o.from.silent {
		t.breakOff(o.from)
		return
	}
	s.after(s.oneWay, func(int) { t.send() })
}

// send starts to answer the request.
func (t *transfer) send() {
	if t.from.silent || t.to.silent || !t.from.close(t.offer) {
		return // the other end will notice
	}
	tail := t.s.tail(min(t.from.up, t.to.down))
	t.f = t.s.startFlow(t.from, t.to, t.size, tail)
	t.f.reached = t.nearlyDone
	if p := t.s.sc.Patience; p > 0 {
		t.s.after(seconds(p*t.size/t.from.up), func(int) { t.endUpload() })
		t.s.after(seconds(p*t.size/t.to.down), func(int) { t.endDownload() })
	}
}

// nearlyDone gives the slots back, so that the next piece can follow without a
// gap.
func (t *transfer) nearlyDone() {
	t.f.mark = 0
	t.f.reached = t.sent
	t.f.retime()
	t.endUpload()
	t.s.after(t.s.oneWay, func(int) { t.endDownload() })
}

func (t *transfer) sent() {
	t.s.stopFlow(t.f)
	t.sendEnd = true
	t.from.transfers = without(t.from.transfers, t)
	t.s.after(t.s.oneWay, func(int) { t.land() })
}

func (t *transfer) land() {
	if t.to.silent || t.recvEnd {
		return
	}
	t.endDownload()
	t.receiverDone()
	t.to.hold(t.b, t.Piece)
}

func (t *transfer) receiverDone() {
	t.recvEnd = true
	t.to.transfers = without(t.to.transfers, t)
	t.to.picker.Landed(t.Blob, t.Piece)
}

func (t *transfer) endUpload() {
	if !t.sendSlot {
		t.sendSlot = true
		t.from.picker.EndUpload()
		t.from.pump()
	}
}

func (t *transfer) endDownload() {
	if !t.gotSlot {
		t.gotSlot = true
		t.to.picker.EndDownload()
		t.to.slotsChanged()
	}
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
		end, wait = t.giveUp, s.stall
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
	t.receiverDone()
	t.to.rewindow()
	t.to.tell(t.b)
	t.endDownload()
}

// takeBack lets the sender offer the piece to others.
func (t *transfer) takeBack() {
	if t.from.silent {
		return
	}
	t.from.close(t.offer)
	t.from.transfers = without(t.from.transfers, t)
	t.from.picker.Lost(t.Offer, picker.Busy)
	t.endUpload()
	t.from.pump()
}
