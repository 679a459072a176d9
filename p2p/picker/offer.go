package picker

import (
	"math"
	"slices"
)

// Offer is a piece held out to a neighbour. It occupies an upload slot.
type Offer struct {
	Node  string
	Blob  string
	Piece int
}

// NextOffer picks what to offer now and takes a slot for it. ok is false if
// every slot is busy or nobody free wants what this node may send.
func (s *State) NextOffer() (o Offer, ok bool) {
	if !s.CanOffer() {
		return Offer{}, false
	}
	if s.seed {
		// What a seed sends nobody else has: it goes to who passes it on soon, and
		// the seed's link must not idle while peers fill each other's slots.
		o, ok = s.choose(func(n *neighbour) bool { return n.free && !n.slow() })
		if !ok {
			o, ok = s.choose(func(n *neighbour) bool { return n.uploads == 0 && !n.declined && !n.slow() })
		}
	}
	if !ok {
		o, ok = s.choose(func(n *neighbour) bool { return n.free })
	}
	if ok {
		n, b, v := s.receiver(o)
		s.uploads++
		n.uploads++
		v.want.remove(o.Piece)
		v.sending.add(o.Piece)
		b.sent(v, o.Piece)
		n.free = false // until it says so again
	}
	return o, ok
}

// choose picks one of the neighbours for which may holds, with equal chance, and
// then the piece for it: were the rarest piece of all picked first, who fell
// behind would be served last, and fall further behind.
func (s *State) choose(may func(*neighbour) bool) (o Offer, ok bool) {
	nodes := 0
	for _, n := range s.nodeOrder {
		if n.quiet || !may(n) {
			continue
		}
		if p, found := s.rarest(n); found {
			if nodes++; s.rand.IntN(nodes) == 0 {
				o, ok = p, true
			}
		}
	}
	return o, ok
}

// rarest picks the piece with the fewest copies that a neighbour wants, with
// equal chance among equals.
func (s *State) rarest(n *neighbour) (o Offer, ok bool) {
	best, ties := 0, 0
	for _, b := range s.blobOrder {
		v := n.view(b)
		if v == nil {
			continue
		}
		for k, held := range b.have.Words() {
			for word := v.want[k] & held; word != 0; {
				i := next(&word, k)
				score := s.score(b, v, i)
				if score < 0 || ties > 0 && score > best {
					continue
				}
				if ties == 0 || score < best {
					best, ties = score, 0
				}
				if ties++; s.rand.IntN(ties) == 0 {
					o, ok = Offer{Node: n.id, Blob: b.id, Piece: i}, true
				}
			}
		}
	}
	return o, ok
}

// score ranks a piece for a neighbour; lowest first, negative never.
func (s *State) score(b *blob, v *view, i int) int {
	if !s.seed {
		return b.copies[i]
	}
	if b.copies[i] > 0 && !v.lonely && !v.starved {
		return -1 // somebody else can send it
	}
	return b.copies[i]
}

// Reason is why an offer came to nothing.
type Reason int

// Reasons for declining an offer.
const (
	Accepted Reason = iota
	Have            // held, on its way, or not wanted
	Busy            // no slot, or no memory
)

// Lost undoes an offer that was declined, ran out of time, or broke. It does
// not give the slot back: see EndUpload.
func (s *State) Lost(o Offer, why Reason) {
	s.over(o)
	n, b, v := s.receiver(o)
	if v == nil {
		return
	}
	n.declined = why == Busy
	if why == Have {
		// The next snapshot tells whether it holds it; until then nobody
		// offers it again.
		return
	}
	s.unsent(n, b, v, o.Piece)
	v.want.add(o.Piece)
}

// Late says that the piece of an offer takes long to arrive. Nobody can count on
// its receiver to pass it on.
func (s *State) Late(o Offer) {
	if n, b, v := s.receiver(o); v != nil {
		s.unsent(n, b, v, o.Piece)
		n.late = append(n.late, o)
	}
}

// slow reports whether something takes long to arrive at the neighbour.
func (n *neighbour) slow() bool { return len(n.late) > 0 }

// over says that an offer is no longer under way, even if its receiver or its blob
// has been forgotten meanwhile.
func (s *State) over(o Offer) {
	n, _, v := s.receiver(o)
	if n != nil {
		n.late = slices.DeleteFunc(n.late, func(l Offer) bool { return l == o })
	}
	if v != nil {
		v.sending.remove(o.Piece)
	}
}

// Delivered says that the piece of an offer has left for its receiver, whole.
func (s *State) Delivered(o Offer) {
	s.over(o)
	if n, b, v := s.receiver(o); v != nil && !n.quiet {
		b.sent(v, o.Piece)
	}
}

// sent counts a copy that a neighbour is going to have.
func (b *blob) sent(v *view, i int) {
	if !v.have.has(i) && !v.sent.has(i) {
		v.sent.add(i)
		b.copies[i]++
		b.total++
	}
}

// unsent takes that back.
func (s *State) unsent(n *neighbour, b *blob, v *view, i int) {
	if v.sent.has(i) {
		v.sent.remove(i)
		if !v.have.has(i) && !n.quiet {
			b.copies[i]--
			b.total--
		}
	}
}

// receiver is whom an offer was made to; v is nil if it is no longer known for
// the blob.
func (s *State) receiver(o Offer) (n *neighbour, b *blob, v *view) {
	n, b = s.neighbours[o.Node], s.blobs[o.Blob]
	if n != nil && b != nil {
		v = n.view(b)
	}
	return n, b, v
}

// EndUpload gives the upload slot of an offer back: the transfer is done, nearly
// done, or will not be.
func (s *State) EndUpload(o Offer) {
	s.uploads--
	if n := s.neighbours[o.Node]; n != nil && n.uploads > 0 { // it may be another than it was
		n.uploads--
	}
}

// Accept decides on a piece that is offered to this node. If it is accepted, a
// download slot is taken and the piece is in flight until Landed. For the seed
// there is one slot more: nobody else can send what it sends.
func (s *State) Accept(blobID string, i int, fromSeed bool) Reason {
	b := s.blobs[blobID]
	if b == nil || i >= b.pieces || !b.want.Test(uint(i)) {
		return Have
	}
	slots := s.slots
	if fromSeed {
		slots++
	}
	if s.downloads >= slots {
		return Busy
	}
	s.downloads++
	b.want.Clear(uint(i))
	b.inflight.Set(uint(i))
	return Accepted
}

// Fetch marks a piece as in flight that the node gets without an offer.
func (s *State) Fetch(blobID string, i int) {
	if b := s.blobs[blobID]; b != nil {
		b.want.Clear(uint(i))
		b.inflight.Set(uint(i))
	}
}

// EndDownload gives a download slot back: the transfer is done or nearly so.
func (s *State) EndDownload() { s.downloads-- }

// Landed says that a piece is in flight no more, whether it came or not.
func (s *State) Landed(blobID string, i int) {
	if b := s.blobs[blobID]; b != nil {
		b.inflight.Clear(uint(i))
	}
}

// CanOffer reports whether an upload slot is idle. A seed has one more than
// others: what it sends shares its receiver's link with more, and while its own
// link idles the whole swarm falls behind. In a young swarm nothing else is on
// that link, and with fewer slots more nodes soon have something to give.
func (s *State) CanOffer() bool {
	if !s.seed {
		return s.uploads < s.slots
	}
	return s.uploads < youngSlots || s.uploads <= s.slots && s.uploads < youngSlots+s.spread()
}

// spread returns how many pieces the neighbours have in the mean, of the blob of
// which they have the most and not yet all.
func (s *State) spread() int {
	most := 0
	for _, b := range s.blobOrder {
		members := 0
		for _, n := range s.nodeOrder {
			if !n.quiet && n.view(b) != nil {
				members++
			}
		}
		if members > 0 && b.total < members*b.pieces {
			most = max(most, b.total/members)
		}
	}
	return most
}

// Free reports whether the node would take a piece now.
func (s *State) Free() bool { return s.downloads < s.slots }

// How many transfers run at once in each direction. With one, the link idles
// while the next is agreed upon; with more than needed, a piece takes longer
// until it can be passed on.
const (
	MinSlots = 4
	MaxSlots = 8
	// youngSlots are those of a seed whose swarm has nothing yet; it gets one more
	// for each piece that its neighbours have.
	youngSlots = 2
)

// Slots returns how many slots a node that is no seed needs where agreeing on a transfer takes
// trips times as long as a piece takes to pass the link alone: what is under way
// must outlast what is being agreed upon.
func Slots(trips float64) int {
	if !(trips < 2) { // NaN is neither
		return MaxSlots
	}
	return min(max(1+int(math.Ceil(4*trips)), MinSlots), MaxSlots)
}

// SetSlots sets the number of slots. Transfers that run are not ended.
func (s *State) SetSlots(n int) { s.slots = n }
