package p2p

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// heartbeat is how often a node that has nothing to say shows that it
	// lives.
	heartbeat = 250 * time.Millisecond
	// quietAfter is when a silent neighbour counts for nothing, goneAfter
	// when it is dropped.
	quietAfter = time.Second
	goneAfter  = 5 * time.Second
	// snapshotEvery is how often a neighbour hears what changed.
	snapshotEvery = 20 * time.Millisecond
	// maxQueue bounds what waits to be said to one neighbour.
	maxQueue = 8192
)

// stream is one end of the frames between two neighbours.
type stream interface {
	Send(*wire.Frame) error
	Receive() (*wire.Frame, error)
}

// neighbour is a node at the other end of a stream.
type neighbour struct {
	n      *Node
	id     string
	addr   string // where it serves pieces
	seed   bool
	dialer string // ID of the node that opened the stream
	labels map[string]string

	stop func()        // ends the stream; may be called often
	wake chan struct{} // there is something to say

	// Guarded by n.mu.
	first     []*wire.Frame        // what must come before offers
	offers    []*wire.Frame        // offers and rejections
	snapshots map[string]*snapshot // by blob: those that we share with it
	digests   map[string]int       // by blob: pieces whose digest it was told
	saidFree  bool                 // what it last heard of our slots
	heard     time.Time
	strikes   int // transfers that failed in a row
}

// snapshot is what a neighbour has been told of a blob.
type snapshot struct {
	due  bool
	last time.Time
}

func (nb *neighbour) rouse() {
	select {
	case nb.wake <- struct{}{}:
	default:
	}
}

// say queues a frame that must come before offers. Callers hold n.mu.
func (nb *neighbour) say(f *wire.Frame) {
	nb.first = append(nb.first, f)
	nb.bound()
}

// offer queues an offer or a rejection. Callers hold n.mu.
func (nb *neighbour) offer(f *wire.Frame) {
	nb.offers = append(nb.offers, f)
	nb.bound()
}

func (nb *neighbour) bound() {
	if len(nb.first)+len(nb.offers) > maxQueue {
		log.L.WithField("node", nb.id).Warn("a neighbour does not read what it is told; dropping it")
		nb.stop()
		return
	}
	nb.rouse()
}

// share makes the blob one that is exchanged with the neighbour. Callers hold
// n.mu.
func (nb *neighbour) share(blob string) {
	if nb.snapshots[blob] == nil {
		nb.snapshots[blob] = &snapshot{due: true}
		nb.rouse()
	}
}

var errStopped = errors.New("p2p: the stream was stopped")

// converse runs both directions of a stream until one ends.
func (nb *neighbour) converse(ctx context.Context, s stream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(nb.speak(ctx, s)) })
	err := nb.listen(s)
	cancel(err)
	nb.stop()
	wg.Wait()
	return context.Cause(ctx)
}

// listen hands what the neighbour says to the node.
func (nb *neighbour) listen(s stream) error {
	for {
		f, err := s.Receive()
		if err != nil {
			return err
		}
		if err := wire.Check(f); err != nil {
			return err
		}
		if err := nb.n.hear(nb, f); err != nil {
			return err
		}
	}
}

// speak says what there is to say, and now and then that the node lives.
func (nb *neighbour) speak(ctx context.Context, s stream) error {
	defer nb.stop()
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for said := time.Now(); ; {
		frames, next := nb.collect(time.Now())
		if len(frames) == 0 && time.Since(said) >= heartbeat {
			frames = append(frames, &wire.Frame{})
		}
		for _, f := range frames {
			if err := s.Send(f); err != nil {
				return err
			}
			said = time.Now()
		}
		timer.Reset(next)
		select {
		case <-nb.wake:
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// collect takes what is due now, in the order in which it must arrive, and
// tells when to look again.
func (nb *neighbour) collect(now time.Time) (frames []*wire.Frame, next time.Duration) {
	n := nb.n
	n.mu.Lock()
	defer n.mu.Unlock()
	next = heartbeat
	frames = append(frames, nb.first...)
	nb.first = nil
	for blob, told := range nb.digests {
		if t := n.tasks[blob]; t != nil && t.known {
			frames = append(frames, nb.digestsFrom(t, told)...)
		}
	}
	for blob, s := range nb.snapshots {
		t := n.tasks[blob]
		if !s.due || t == nil || !t.known || t.err != nil || n.cfg.Seed {
			continue
		}
		if wait := s.last.Add(n.snapshotEvery(t)).Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		s.due, s.last = false, now
		frames = append(frames, n.snapshotOf(t, nb))
	}
	if free := n.picker.Free() && !n.cfg.Seed; free != nb.saidFree {
		nb.saidFree = free
		frames = append(frames, &wire.Frame{Kind: &wire.Frame_Slots{Slots: &wire.Slots{Free: free}}})
	}
	frames = append(frames, nb.offers...)
	nb.offers = nil
	return frames, next
}

// digestsFrom tells the digests that became known in sequence.
func (nb *neighbour) digestsFrom(t *task, told int) []*wire.Frame {
	const most = 1024
	var frames []*wire.Frame
	for told < t.layout.Count() && t.proven.Test(uint(told)) {
		d := &wire.Digests{Blob: t.id, First: uint32(told)}
		for told < t.layout.Count() && t.proven.Test(uint(told)) && len(d.Sha256) < most*32 {
			d.Sha256 = append(d.Sha256, t.digests[told][:]...)
			told++
		}
		frames = append(frames, &wire.Frame{Kind: &wire.Frame_Digests{Digests: d}})
	}
	nb.digests[t.id] = told
	return frames
}

// snapshotOf says what this node holds and wants. Callers hold n.mu.
func (n *Node) snapshotOf(t *task, nb *neighbour) *wire.Frame {
	want := n.picker.Wanted(t.id)
	return &wire.Frame{Kind: &wire.Frame_Snapshot{Snapshot: &wire.Snapshot{
		Blob: t.id, Size: t.layout.Size, PieceSize: t.layout.PieceSize,
		Have: piece.Encode(n.picker.Offerable(t.id)), Want: piece.Encode(want),
		Peers:   uint32(max(len(t.peers), n.picker.Neighbours(t.id))),
		Starved: t.starved(),
	}}}
}

// starved reports whether nothing came for a while although the node waits.
func (t *task) starved() bool {
	return t.filling() && time.Since(t.progress) > time.Second
}

// snapshotEvery is the time of one piece, at most 20 ms. Callers hold n.mu.
func (n *Node) snapshotEvery(t *task) time.Duration {
	return max(time.Millisecond, min(snapshotEvery, n.pieceTime(t.layout.PieceSize)))
}

// snapshotDue marks a blob as one whose neighbours have something to hear.
// Callers hold n.mu.
func (n *Node) snapshotDue(blob string) {
	for _, nb := range n.neighbours {
		if s := nb.snapshots[blob]; s != nil && !s.due {
			s.due = true
			nb.rouse()
		}
	}
}

// slotsChanged lets every neighbour hear whether this node is free. Callers
// hold n.mu.
func (n *Node) slotsChanged() {
	if n.cfg.Seed { // it takes no pieces
		return
	}
	for _, nb := range n.neighbours {
		if nb.saidFree != n.picker.Free() {
			nb.rouse()
		}
	}
}
