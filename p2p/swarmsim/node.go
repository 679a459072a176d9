package swarmsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// node is a peer, or the seed.
type node struct {
	s      *sim
	index  int
	id     string
	seed   bool
	entry  bool // the seed deals with it
	silent bool // dead or frozen
	dead   bool

	picker    *picker.State
	links     []link
	offers    []*offer    // not answered
	transfers []*transfer // not over, in either direction
	blobs     []*blob
	opened    int // blobs that were opened
	missing   int // pieces
	arrived   bool
	progress  time.Duration // when the last piece came
	finish    time.Duration

	saidFree bool // what the neighbours were told last

	up, down  float64 // bytes per second
	outs, ins []*flow
	sent, got float64 // bytes
}

// blob is what a node has of a blob.
type blob struct {
	index   int
	id      string
	held    *piece.Bitfield
	missing int
	open    bool // wanted

	due  bool // a snapshot will be sent
	last time.Duration
	said snapshot // the last one that has reached the neighbours
	seq  int      // of said, by heard.seq
}

type snapshot = picker.Snapshot

// heard is what has reached the neighbours of a node. All nodes' are in one
// list, which stays in the processor's cache while every node goes over it.
type heard struct {
	seq     int  // counts snapshots
	freeSeq int  // counts FREE and BUSY
	free    bool // the last of them
	idle    bool // the node itself would send something now
}

// link is what a node has taken in of what a neighbour said.
type link struct {
	peer         *node
	seq, freeSeq int
	free         bool // as the picker has it
}

func newNode(s *sim, index int) *node {
	n := &node{s: s, index: index, id: fmt.Sprintf("node%05d", index), seed: index == len(s.sc.Nodes), missing: s.sc.pieces()}
	n.up, n.down = s.sc.Rate, s.sc.Rate
	if !n.seed {
		n.up, n.down = s.sc.Nodes[index].Up, s.sc.Nodes[index].Down
	}
	n.picker = picker.New(n.seed, s.source(uint64(index)))
	for i, pieces := range s.sc.Blobs {
		b := &blob{index: i, id: fmt.Sprintf("blob%03d", i), held: piece.NewBitfield(pieces), missing: pieces, last: -time.Hour}
		b.said = snapshot{Have: piece.NewBitfield(pieces), Want: piece.NewBitfield(pieces)}
		n.blobs = append(n.blobs, b)
		n.picker.AddBlob(b.id, pieces)
	}
	return n
}

// know makes a peer a neighbour.
func (n *node) know(peer *node) {
	n.picker.AddNeighbour(peer.id)
	n.links = append(n.links, link{peer: peer})
}

// forget drops a neighbour and what was offered to it.
func (n *node) forget(peer *node) {
	i := slices.IndexFunc(n.links, func(l link) bool { return l.peer == peer })
	if i < 0 {
		return
	}
	n.links = slices.Delete(n.links, i, i+1)
	n.picker.RemoveNeighbour(peer.id)
	for _, o := range slices.Clone(n.offers) {
		if o.to == peer && n.close(o) {
			n.picker.EndUpload()
		}
	}
}

func (n *node) linkTo(peer *node) *link {
	for i := range n.links {
		if n.links[i].peer == peer {
			return &n.links[i]
		}
	}
	return nil
}

// lonely reports whether the node knows nobody but the seed.
func (n *node) lonely() bool {
	for _, l := range n.links {
		if !l.peer.seed {
			return false
		}
	}
	return true
}

func (n *node) starved() bool {
	return n.arrived && n.missing > 0 && n.s.now-n.progress > time.Second
}

// rewindow asks for the pieces that are needed next.
func (n *node) rewindow() {
	open := 0
	for _, b := range n.blobs[:n.opened] {
		if b.open {
			open++
		}
	}
	for ; n.opened < len(n.blobs) && open < n.s.sc.Parallel; n.opened++ {
		n.blobs[n.opened].open = true
		n.tell(n.blobs[n.opened])
		open++
	}
	for _, b := range n.blobs[:n.opened] {
		if b.open {
			width := max(4, n.s.sc.Window/open)
			n.picker.Want(b.id, picker.Window(n.s.sc.Blobs[b.index], b.held, n.picker.InFlight(b.id), []int{0}, width))
		}
	}
}

// hold takes a piece.
func (n *node) hold(b *blob, i int) {
	n.progress = n.s.now
	b.held.Set(uint(i))
	b.missing--
	n.missing--
	n.picker.Hold(b.id, i)
	if b.missing == 0 {
		b.open = false
	}
	if !n.seed {
		n.rewindow()
	}
	n.tell(b)
	n.pump()
	if n.missing == 0 {
		n.finish = n.s.now
		n.s.finished(n)
	}
}
