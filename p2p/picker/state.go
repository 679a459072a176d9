package picker

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// State is what one node knows about itself and its neighbours. It is not safe
// for concurrent use.
type State struct {
	seed bool
	rand *rand.Rand

	slots     int // upload slots, and as many download slots
	uploads   int // slots in use: offered or sending
	downloads int // slots in use: accepted and not nearly done

	neighbours map[string]*neighbour
	blobs      map[string]*blob
	// The values of the maps in the order of their keys, so that the same
	// source of randomness always leads to the same choices.
	nodeOrder []*neighbour
	blobOrder []*blob
	unused    []int // slots of blobs that were removed
}

type neighbour struct {
	id       string
	free     bool    // would take a piece
	quiet    bool    // not heard of for a while
	uploads  int     // slots that transfers to it hold
	declined bool    // the last offer, and has said nothing since
	late     []Offer // under way to it for long
	views    []view  // by the slot of the blob
	first    [1]view
}

// view returns the view of a blob, nil if there is none.
func (n *neighbour) view(b *blob) *view {
	if b.slot < len(n.views) && n.views[b.slot].have != nil {
		return &n.views[b.slot]
	}
	return nil
}

// view is what a node believes of a neighbour for one blob. The zero view is
// none.
type view struct {
	have, want words
	sent       words // sent to it; it may not have told yet
	sending    words // offered to it, or on the way: what it says of these is old
	lonely     bool  // knows nobody but the seed
	starved    bool  // wants, and nothing comes
}

type blob struct {
	id       string
	slot     int // where the neighbours' views of it are
	pieces   int
	have     *piece.Bitfield // may be offered
	want     *piece.Bitfield // in the window, not held, not in flight
	inflight *piece.Bitfield
	copies   []int // per piece: live neighbours that hold it or were sent it
	total    int   // of copies
}

// New returns the state of a node without neighbours and blobs.
func New(seed bool, rand *rand.Rand) *State {
	return &State{
		seed: seed, rand: rand, slots: MinSlots,
		neighbours: map[string]*neighbour{},
		blobs:      map[string]*blob{},
	}
}

// AddNeighbour adds a neighbour that is busy until it says otherwise. One that
// is there already is forgotten first.
func (s *State) AddNeighbour(id string) {
	s.RemoveNeighbour(id)
	n := &neighbour{id: id}
	n.views = n.first[:0] // the views of one blob need no more memory
	s.neighbours[id] = n
	i, _ := slices.BinarySearchFunc(s.nodeOrder, id, byID)
	s.nodeOrder = slices.Insert(s.nodeOrder, i, n)
}

// RemoveNeighbour forgets a neighbour and its copies. Slots that it holds are
// given back by those who run the transfers.
func (s *State) RemoveNeighbour(id string) {
	if n := s.neighbours[id]; n != nil {
		s.SetQuiet(id, true)
		s.nodeOrder = slices.DeleteFunc(s.nodeOrder, func(o *neighbour) bool { return o == n })
		delete(s.neighbours, id)
	}
}

// AddBlob adds a blob of so many pieces, of which none is held or wanted.
// Adding a blob again changes nothing.
func (s *State) AddBlob(id string, pieces int) {
	if s.blobs[id] != nil {
		return
	}
	slot := len(s.blobs)
	if n := len(s.unused); n > 0 {
		slot, s.unused = s.unused[n-1], s.unused[:n-1]
	}
	b := &blob{
		id: id, slot: slot, pieces: pieces, have: piece.NewBitfield(pieces), want: piece.NewBitfield(pieces),
		inflight: piece.NewBitfield(pieces), copies: make([]int, pieces),
	}
	s.blobs[id] = b
	i, _ := slices.BinarySearchFunc(s.blobOrder, b, func(a, b *blob) int { return strings.Compare(a.id, b.id) })
	s.blobOrder = slices.Insert(s.blobOrder, i, b)
}

// RemoveBlob forgets a blob and every view of it.
func (s *State) RemoveBlob(id string) {
	b := s.blobs[id]
	if b == nil {
		return
	}
	for _, n := range s.nodeOrder {
		if v := n.view(b); v != nil {
			*v = view{}
		}
	}
	s.unused = append(s.unused, b.slot)
	s.blobOrder = slices.DeleteFunc(s.blobOrder, func(o *blob) bool { return o == b })
	delete(s.blobs, id)
}

// Hold says that a piece may be offered from now on.
func (s *State) Hold(id string, i int) {
	if b := s.blobs[id]; b != nil {
		b.have.Set(uint(i))
		b.want.Clear(uint(i))
	}
}

// HoldAll says that every piece may be offered.
func (s *State) HoldAll(id string) {
	if b := s.blobs[id]; b != nil {
		b.have = piece.Full(b.pieces)
		b.want = piece.NewBitfield(b.pieces)
	}
}

// Drop says that a piece can no longer be offered.
func (s *State) Drop(id string, i int) {
	if b := s.blobs[id]; b != nil {
		b.have.Clear(uint(i))
	}
}

// Want replaces the pieces that the node asks for.
func (s *State) Want(id string, want *piece.Bitfield) {
	if b := s.blobs[id]; b != nil {
		want.CopyFull(b.want)
		b.want.InPlaceDifference(b.inflight)
	}
}

// Offerable returns the pieces of a blob that may be offered, as a copy.
func (s *State) Offerable(id string) *piece.Bitfield { return s.blobs[id].have.Clone() }

// Wanted returns the pieces of a blob that the node asks for, as a copy.
func (s *State) Wanted(id string) *piece.Bitfield { return s.blobs[id].want.Clone() }

// InFlight returns the pieces of a blob that are on their way, as a copy.
func (s *State) InFlight(id string) *piece.Bitfield { return s.blobs[id].inflight.Clone() }

// Snapshot is a neighbour's word on a blob.
type Snapshot struct {
	Have, Want *piece.Bitfield
	Lonely     bool // it knows nobody but the seed for this blob
	Starved    bool // it wants pieces and nothing comes
}

// Observe replaces the view of a neighbour; the snapshot stays the caller's.
// Unknown neighbours and blobs are ignored.
func (s *State) Observe(id, blobID string, snap Snapshot) {
	n, b := s.neighbours[id], s.blobs[blobID]
	if n == nil || b == nil {
		return
	}
	v := n.view(b)
	if v == nil {
		for len(n.views) <= b.slot {
			n.views = append(n.views, view{})
		}
		v = &n.views[b.slot]
		*v = newView(b.pieces)
	}
	n.declined = false
	v.lonely, v.starved = snap.Lonely, snap.Starved
	have, want := words(snap.Have.Words()), words(snap.Want.Words())
	for k, held := range v.have {
		h, w, sent := have.word(k), want.word(k)&^v.sending[k], v.sent[k]
		if h == held && w == v.want[k] && w&sent == 0 {
			continue // most of a blob is as it was
		}
		before := held | sent
		sent &^= w // what it wants again after it was sent has been lost on the way
		v.have[k], v.want[k], v.sent[k] = h, w, sent
		after := h | sent
		if !n.quiet {
			b.count(k, after&^before, 1)
			b.count(k, before&^after, -1)
		}
	}
}

// newView returns a view of a blob of so many pieces of which nothing is known.
func newView(pieces int) view {
	size := (pieces + 63) / 64
	w := make(words, 4*size)
	return view{have: w[:size:size], want: w[size : 2*size : 2*size], sent: w[2*size : 3*size : 3*size], sending: w[3*size:]}
}

// Forget drops the view of a neighbour that left a blob's swarm.
func (s *State) Forget(id, blobID string) {
	n, b := s.neighbours[id], s.blobs[blobID]
	if n == nil || b == nil {
		return
	}
	if v := n.view(b); v != nil {
		s.count(n, v, b, -1)
		*v = view{}
	}
}

// SetFree says whether a neighbour would take a piece now.
func (s *State) SetFree(id string, free bool) {
	if n := s.neighbours[id]; n != nil {
		n.free, n.declined = free, false
	}
}

// SetQuiet says whether a neighbour has fallen silent. What a quiet one holds
// counts for nothing, and nothing is offered to it.
func (s *State) SetQuiet(id string, quiet bool) {
	n := s.neighbours[id]
	if n == nil || n.quiet == quiet {
		return
	}
	if quiet {
		s.countAll(n, -1)
	}
	n.quiet = quiet
	if !quiet {
		s.countAll(n, 1)
	}
}

// Copies returns how many live neighbours hold a piece.
func (s *State) Copies(id string, i int) int {
	if b := s.blobs[id]; b != nil {
		return b.copies[i]
	}
	return 0
}

// Neighbours returns how many live neighbours have a view of a blob.
func (s *State) Neighbours(id string) int { return len(s.Members(id)) }

// Members returns the IDs of live neighbours that have a view of a blob.
func (s *State) Members(id string) (ids []string) {
	b := s.blobs[id]
	if b == nil {
		return nil
	}
	for _, n := range s.nodeOrder {
		if !n.quiet && n.view(b) != nil {
			ids = append(ids, n.id)
		}
	}
	return ids
}

func (s *State) countAll(n *neighbour, d int) {
	for _, b := range s.blobOrder {
		if v := n.view(b); v != nil {
			s.count(n, v, b, d)
		}
	}
}

func (s *State) count(n *neighbour, v *view, b *blob, d int) {
	if n.quiet {
		return
	}
	for k := range v.have {
		b.count(k, v.have[k]|v.sent[k], d)
	}
}

// count adds d to the copies of the pieces in word k of a set.
func (b *blob) count(k int, word uint64, d int) {
	for word != 0 {
		b.copies[next(&word, k)] += d
		b.total += d
	}
}

func byID(n *neighbour, id string) int { return strings.Compare(n.id, id) }
