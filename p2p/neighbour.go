package p2p

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

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
	// reportEvery is how often a neighbour hears what changed, or as often as
	// reportPieces pieces pass the link; hurried neighbours hear at once that
	// a slot is free.
	reportEvery  = 100 * time.Millisecond
	reportPieces = 2
	hurried      = 4
	// The seed helps a node that gets nothing from peers for hungryAfter, or
	// nothing of a blob for starvedAfter.
	hungryAfter  = time.Second
	starvedAfter = 10 * time.Second
	// maxQueue bounds what waits to be said to one neighbour.
	maxQueue = 8192
)

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
	first    []*wire.Frame   // what must come before offers
	offers   []*wire.Frame   // offers and rejections
	shares   map[string]bool // blobs that we exchange with it
	due      map[string]bool // of these, those of which it must hear
	reported time.Time       // when it last heard of our pieces and slots
	hurry    bool            // it must hear at once that we are free
	told     map[string]int  // by blob: pieces whose Sum it was told
	saidFree bool            // what it last heard of our slots
	heard    time.Time
	strikes  int // transfers that failed in a row
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
		nb.n.log().WithField("node", nb.id).Warn("a neighbour does not read what it is told; dropping it")
		nb.stop()
		return
	}
	nb.rouse()
}

// share makes the blob one that is exchanged with the neighbour. Callers hold
// n.mu.
func (nb *neighbour) share(blob string) {
	if !nb.shares[blob] {
		nb.shares[blob] = true
		nb.owe(blob)
	}
}

// owe makes the neighbour hear of the blob with the next report. A supernode of
// a large swarm has no ear for all. Callers hold n.mu.
func (nb *neighbour) owe(blob string) {
	t := nb.n.tasks[blob]
	if t == nil || nb.n.cfg.Seed || nb.due[blob] || nb.seed && !t.asksSeed() {
		return
	}
	nb.due[blob] = true
	nb.rouse()
}

var errStopped = errors.New("p2p: the stream was stopped")

// converse runs both directions of a stream until one ends.
func (nb *neighbour) converse(ctx context.Context, s *stream) error {
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

// listen hands to the node what the neighbour says.
func (nb *neighbour) listen(s *stream) error {
	for {
		said, err := s.Receive()
		if err != nil {
			return err
		}
		if err := nb.n.hear(nb, said.GetFrames()); err != nil {
			return err
		}
	}
}

// speak says what there is to say, and now and then that the node lives.
func (nb *neighbour) speak(ctx context.Context, s *stream) error {
	defer nb.stop()
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	unread := time.AfterFunc(goneAfter, nb.stop) // while something is being sent
	unread.Stop()
	for said := time.Now(); ; {
		frames, next := nb.collect(time.Now())
		if len(frames) > 0 || time.Since(said) >= heartbeat {
			unread.Reset(goneAfter)
			for batch := range batches(frames) {
				if err := s.Send(&wire.Frames{Frames: batch}); err != nil {
					return err
				}
			}
			unread.Stop()
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

// batches cuts frames into messages that the other side accepts, at least one.
func batches(frames []*wire.Frame) iter.Seq[[]*wire.Frame] {
	return func(yield func([]*wire.Frame) bool) {
		first, size := 0, 0
		for i, f := range frames {
			s := proto.Size(f)
			if size+s > wire.MaxMessage/2 || i-first == wire.MaxFrames {
				if !yield(frames[first:i]) {
					return
				}
				first, size = i, 0
			}
			size += s
		}
		yield(frames[first:])
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
	for blob, told := range nb.told {
		if t := n.tasks[blob]; t != nil && t.known {
			frames = append(frames, nb.sumsFrom(t, told)...)
		}
	}
	wait := nb.reported.Add(n.reportEvery()).Sub(now)
	switch {
	case wait <= 0 || nb.hurry && !nb.seed:
		frames = append(frames, nb.report(now)...)
	case nb.hurry: // what only the supernode has, this node surely wants
		frames = append(frames, nb.reportSlots()...)
	}
	if wait > 0 && nb.stale() {
		next = min(next, wait)
	}
	frames = append(frames, nb.offers...)
	nb.offers = nil
	return frames, next
}

// stale reports whether there is something to report. Callers hold n.mu.
func (nb *neighbour) stale() bool {
	return len(nb.due) > 0 || nb.n.free() != nb.saidFree && (!nb.seed || nb.n.asksSeed())
}

// report tells what this node holds and wants, as far as that is new, and then
// whether it is free: who hears that offers at once, and must know what.
// Callers hold n.mu.
func (nb *neighbour) report(now time.Time) (frames []*wire.Frame) {
	n := nb.n
	for blob := range nb.due {
		if t := n.tasks[blob]; t != nil && t.known && t.err == nil {
			frames = append(frames, n.snapshotOf(t))
			delete(nb.due, blob)
		}
	}
	frames = append(frames, nb.reportSlots()...)
	if len(frames) > 0 {
		nb.reported = now
	}
	return frames
}

// reportSlots tells whether this node is free, if that is new. Callers hold
// n.mu.
func (nb *neighbour) reportSlots() []*wire.Frame {
	nb.hurry = false
	free := nb.n.free()
	if free == nb.saidFree {
		return nil
	}
	nb.saidFree = free
	return []*wire.Frame{{Kind: &wire.Frame_Slots{Slots: &wire.Slots{Free: free}}}}
}

// free reports whether this node would take a piece. Callers hold n.mu.
func (n *Node) free() bool { return !n.cfg.Seed && n.picker.Free() }

// sumsFrom tells the Sums that became known in sequence.
func (nb *neighbour) sumsFrom(t *task, told int) []*wire.Frame {
	const most = 1024
	var frames []*wire.Frame
	due := func() bool { return told < t.chain.Named() && t.proven.Test(uint(told)) }
	for due() {
		s := &wire.Sums{Blob: t.id, First: uint32(told)}
		for n := 0; n < most && due(); n++ {
			s.Sums = append(s.Sums, t.sums[told]...)
			told++
		}
		frames = append(frames, &wire.Frame{Kind: &wire.Frame_Sums{Sums: s}})
	}
	nb.told[t.id] = told
	return frames
}

// snapshotOf says what this node holds and wants. Callers hold n.mu.
func (n *Node) snapshotOf(t *task) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Snapshot{Snapshot: &wire.Snapshot{
		Blob: t.id, Size: t.layout.Size, PieceSize: t.layout.PieceSize,
		Have: piece.Encode(n.picker.Offerable(t.id)), Want: piece.Encode(n.picker.Wanted(t.id)),
		Peers:   uint32(max(len(t.peers), n.picker.Neighbours(t.id))),
		Starved: t.starved(),
	}}}
}

// starved reports whether no peer has sent anything for a while, nor is about to.
// Of several blobs one may have to wait for its turn.
func (t *task) starved() bool {
	hungry := time.Since(t.n.fed) > hungryAfter && time.Since(t.started) > hungryAfter
	return t.filling() && t.n.picker.Free() && (hungry || time.Since(t.fed) > starvedAfter)
}

// feed says that a peer has sent a piece. Callers hold n.mu.
func (t *task) feed() {
	t.fed = time.Now()
	t.n.fed = t.fed
}

// reportEvery is the time of some pieces. Callers hold n.mu.
func (n *Node) reportEvery() time.Duration {
	return max(time.Millisecond, min(reportEvery, reportPieces*n.pieceTime(n.pace.piece)))
}

// snapshotDue marks a blob as one whose neighbours have something to hear.
// Callers hold n.mu.
func (n *Node) snapshotDue(blob string) {
	for _, nb := range n.neighbours {
		if nb.shares[blob] {
			nb.owe(blob)
		}
	}
}

// asksSeed reports whether the supernode must hear what the task holds and
// wants. Callers hold n.mu.
func (t *task) asksSeed() bool {
	return t.entry || t.starved() || t.n.picker.Neighbours(t.id) == 0
}

// asksSeed reports whether the supernode must hear that this node is free.
// Callers hold n.mu.
func (n *Node) asksSeed() bool {
	for _, t := range n.tasks {
		if t.filling() && t.asksSeed() {
			return true
		}
	}
	return false
}

// slotsChanged lets some neighbours hear at once that this node is free, the
// supernode among them; the others hear it with the next report. Were all told,
// all would offer, and all but one in vain. Callers hold n.mu.
func (n *Node) slotsChanged() {
	if !n.free() {
		return
	}
	told := 0
	for _, nb := range n.neighbours { // in no order
		if nb.saidFree || nb.hurry || !nb.seed && told == hurried || nb.seed && !n.asksSeed() {
			continue
		}
		if !nb.seed {
			told++
		}
		nb.hurry = true
		nb.rouse()
	}
}
