package swarmsim

import (
	"fmt"
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
	silent bool // dead or frozen
	dead   bool

	picker    *picker.State
	links     []*link
	offers    []*offer    // not answered
	transfers []*transfer // not over, in either direction
	blobs     []*blob
	opened    int           // blobs that were opened
	inbox     []report      // on their way, or not read
	reads     time.Duration // when read comes
	changes   int           // counts what neighbours must hear
	missing   int           // pieces
	arrived   bool
	finish    time.Duration
	fed       time.Duration // when a peer last sent a piece

	trip    time.Duration // from an offer to the request, as seen
	least   time.Duration // the same, at best of late
	slots   int
	overdue int // transfers that have given their slot away

	up, down  float64       // bytes per second
	queue     time.Duration // how late bulk data makes a message
	out, in   end
	sent, got float64 // bytes

	pieceTime   time.Duration // what a piece takes on the faster way
	reportEvery time.Duration
	stall       time.Duration // how long the node waits for a byte
}

// blob is what a node has of a blob.
type blob struct {
	index   int
	id      string
	held    *piece.Bitfield
	missing int
	open    bool          // wanted
	fed     time.Duration // when the last piece came from a peer
	changed int           // when, by node.changes
	word    *word         // what the node says of it now; nil: to be made
}

func newNode(s *sim, index int) *node {
	n := &node{
		s: s, index: index, id: fmt.Sprintf("node%05d", index), seed: index == len(s.sc.Nodes),
		missing: s.sc.pieces(), slots: picker.MinSlots, reads: never,
	}
	n.up, n.down = s.sc.Rate, s.sc.Rate
	if !n.seed {
		n.up, n.down = s.sc.Nodes[index].Up, s.sc.Nodes[index].Down
	}
	n.out = end{capacity: n.up, level: n.up, up: true}
	n.in = end{capacity: n.down, level: n.down}
	size := float64(s.sc.PieceSize)
	n.queue = seconds(float64(s.sc.Queue) / n.up)
	n.pieceTime = seconds(size / max(n.up, n.down))
	n.reportEvery = max(time.Millisecond, min(reportEvery, reportPieces*n.pieceTime))
	n.stall = max(soonest, min(slowest, seconds(3*size/n.down)))
	n.picker = picker.New(n.seed, s.source(uint64(index)))
	for i, pieces := range s.sc.Blobs {
		b := &blob{index: i, id: fmt.Sprintf("blob%03d", i), held: piece.NewBitfield(pieces), missing: pieces}
		n.blobs = append(n.blobs, b)
		n.picker.AddBlob(b.id, pieces)
	}
	return n
}

// lonely reports whether the node knows nobody but the seed.
func (n *node) lonely() bool {
	for _, l := range n.links {
		if !l.to.seed {
			return false
		}
	}
	return true
}

// starved reports whether no peer has sent anything for a while.
func (n *node) starved(b *blob) bool {
	return b.open && n.picker.Free() && (n.s.now-b.fed > starvedAfter || n.s.now-n.fed > hungryAfter)
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
		b := n.blobs[n.opened]
		b.open, b.fed = true, n.s.now
		n.fed = max(n.fed, b.fed)
		open++
	}
	for _, b := range n.blobs[:n.opened] {
		if b.open {
			width := max(4, n.s.sc.Window/open)
			n.picker.Want(b.id, picker.Window(n.s.sc.Blobs[b.index], b.held, n.picker.InFlight(b.id), []int{0}, width))
			b.word = nil
			n.tell(b)
		}
	}
}

// hold takes a piece.
func (n *node) hold(b *blob, i int) {
	b.held.Set(uint(i))
	b.missing--
	n.missing--
	n.picker.Hold(b.id, i)
	b.word = nil
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

// look is what a node does now and then.
func (n *node) look() {
	for _, b := range n.blobs[:n.opened] {
		if n.starved(b) {
			n.tell(b)
		}
	}
	n.slots = picker.Slots(n.least.Seconds() / n.pieceTime.Seconds())
	n.picker.SetSlots(n.slots)
	n.slotsChanged()
	n.pump()
	for _, l := range n.links {
		if n.s.now-l.reported >= heartbeat {
			l.rouse()
		}
	}
}

// tail is how many bytes before its end a transfer gives a slot back, on a link
// of rate.
func (n *node) tail(rate float64) float64 {
	size := float64(n.s.sc.PieceSize)
	return min(size/2, max(size/20, 2*n.trip.Seconds()*rate/float64(n.slots)))
}

// slot is what one end of a transfer holds until it is done, nearly done, or
// late.
type slot struct {
	n           *node
	up          bool
	offer       picker.Offer // if up
	given, over bool
	late        bool
}

// hold watches over a slot that has been taken, on a link of rate.
func (sl *slot) hold(rate float64) {
	s := sl.n.s
	late := seconds(lateAfter * float64(sl.n.slots) * float64(s.sc.PieceSize) / rate)
	s.after(max(tick, late), func(int) {
		if !sl.over && !sl.n.silent && sl.n.overdue < maxLate {
			sl.late = true
			sl.n.overdue++
			sl.release()
		}
	})
}

// release gives the slot back, once.
func (sl *slot) release() {
	n := sl.n
	switch {
	case sl.given:
	case sl.up:
		sl.given = true
		if sl.late {
			n.picker.Late(sl.offer)
		}
		n.picker.EndUpload(sl.offer)
		n.pump()
	default:
		sl.given = true
		n.picker.EndDownload()
		n.slotsChanged()
	}
}

// end gives the slot back when the transfer is over.
func (sl *slot) end() {
	sl.over = true
	sl.release()
	if sl.late {
		sl.late = false
		sl.n.overdue--
	}
}

// What the engine does, too.
const (
	tick         = 100 * time.Millisecond
	heartbeat    = 250 * time.Millisecond
	quietAfter   = time.Second
	goneAfter    = 5 * time.Second
	hungryAfter  = time.Second
	starvedAfter = 10 * time.Second
	reportEvery  = 100 * time.Millisecond
	reportPieces = 2
	hurried      = 4
	offerTimeout = 500 * time.Millisecond
	uploadStall  = 5 * time.Second
	slowest      = time.Second
	soonest      = 800 * time.Millisecond
	lateAfter    = 3
	maxLate      = 4
)
