package p2p

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// task is one blob on this node: being filled, or served to the swarm. There is
// one per digest. A fill belongs to no client: it goes on while somebody holds
// it, and to its end if the store keeps what is written.
type task struct {
	n    *Node
	dgst digest.Digest
	id   string // dgst as the wire names it

	ctx    context.Context // ends with the task
	cancel context.CancelFunc

	bytes tally // received, by source

	// All below is guarded by n.mu.

	known  bool // layout, chain, Sums and the bitfields are set
	layout piece.Layout
	chain  piece.Chain
	sums   []piece.Sum     // as far as they are known
	proven *piece.Bitfield // pieces whose Sum is known, and the one before
	held   *piece.Bitfield // pieces that can be read here
	// Of these, those that have not been compared with a Sum, and those that
	// must not be read: they came from neighbours (see sharing), or were left
	// by an earlier fill.
	unchecked, doubtful *piece.Bitfield
	claims              map[int]claim
	betrayed            bool            // one of them was wrong
	bufs                map[int]*buffer // pieces in memory
	order               []int           // pieces in memory that the ingest has seen, oldest first

	ingest  Ingest      // nil until known, and for a blob out of the store
	blob    Blob        // set for a blob out of the store
	keeps   bool        // what the ingest sees can be read back from it
	passing bool        // the store takes nothing of it
	written int         // pieces that the ingest has seen, in order
	seen    []piece.Sum // the Sums of their bytes
	resumed bool        // some were left by an earlier fill
	whole   bool        // the blob's own digest has been checked
	stored  bool        // the store has the blob
	removed bool        // the store had it, and has it no longer

	err      error     // why the fill failed
	ended    time.Time // when it became whole, or failed
	used     time.Time // when somebody last held it or traded in it
	started  time.Time
	progress time.Time // when the last piece came
	fed      time.Time // when the last one came from a peer

	contents map[*Content]struct{}
	sources  []Source
	peers    map[string]string // ID to address, as the supernode told
	entry    bool              // the supernode sends this node pieces

	awaiting    map[*neighbour]struct{} // agents to tell the layout, on a seed
	entries     map[*neighbour]struct{} // agents that a seed sends pieces to
	superFailed bool                    // the supernode cannot provide it

	changed chan struct{} // closed at every step forward
}

// notify wakes all who wait for the task. Callers hold n.mu.
func (t *task) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// setLayout makes the blob's cut known. Callers hold n.mu.
func (t *task) setLayout(l piece.Layout) {
	n := l.Count()
	t.layout, t.known = l, true
	t.chain, t.sums = piece.NewChain(t.dgst, l), make([]piece.Sum, n)
	t.proven, t.held = piece.NewBitfield(n), piece.NewBitfield(n)
	t.unchecked, t.doubtful = piece.NewBitfield(n), piece.NewBitfield(n)
	t.claims = map[int]claim{}
	if t.chain.Named() < n {
		t.prove(n-1, t.chain.Last())
	}
	t.n.picker.AddBlob(t.id, n)
	t.n.pace.piece = l.PieceSize
	t.notify()
}

// filling reports whether pieces are needed: until the blob is whole, and again
// if a client reads what memory had to let go. A task that has been put away needs
// none.
func (t *task) filling() bool {
	return t.err == nil && t.ctx.Err() == nil && (!t.whole || len(t.contents) > 0 && !t.held.All())
}

// readable reports whether clients may read piece i. The last piece, and those
// in doubt, are kept back until the whole blob has been checked: a client never
// gets all of a wrong blob.
func (t *task) readable(i int) bool {
	return t.held.Test(uint(i)) && (t.whole || i < t.layout.Count()-1 && !t.doubtful.Test(uint(i)))
}

// accept takes a piece into memory. Peers may have it if it has been checked, or
// if it is ours to share: read here while nobody names Sums. Callers hold n.mu; the
// buffer is the task's from here on.
func (t *task) accept(i int, b *buffer, e evidence) {
	if t.err != nil || t.held.Test(uint(i)) {
		b.release()
		return
	}
	t.held.Set(uint(i))
	t.unchecked.SetTo(uint(i), e != checked)
	t.bufs[i] = b
	if i < t.written {
		t.order = append(t.order, i)
	}
	t.progress = time.Now()
	if e == checked || e == ours && t.sharing() {
		t.offer(i)
	}
	t.rewindow()
	t.notify()
}

// offer lets peers have piece i. Callers hold n.mu.
func (t *task) offer(i int) {
	t.n.picker.Hold(t.id, i)
	t.n.snapshotDue(t.id)
	t.n.pump()
}

// rewindow asks for the pieces that are needed next. Callers hold n.mu.
func (t *task) rewindow() {
	if !t.known || t.n.cfg.Seed || t.ctx.Err() != nil {
		return
	}
	if !t.filling() {
		t.n.picker.Want(t.id, piece.NewBitfield(t.layout.Count()))
		return
	}
	want := t.window()
	if t.n.super == nil && !t.sharing() { // nobody would name the digests of the others
		want.InPlaceIntersection(t.proven)
	}
	t.n.picker.Want(t.id, want)
	t.n.snapshotDue(t.id)
}

// writes reports whether the store holds the blob in the end. Callers hold n.mu.
func (t *task) writes() bool { return t.n.cfg.Store.Writes() && !t.passing }

// transient reports whether the store need not hold the blob. Callers hold n.mu.
func (t *task) transient() bool {
	return !t.n.cfg.Seed && len(t.sources) > 0 && !slices.ContainsFunc(t.sources, func(s Source) bool {
		by, ok := s.(Transient)
		return !ok || !by.Transient()
	})
}

// window returns the pieces that are needed next and not on their way.
func (t *task) window() *piece.Bitfield {
	var cursors []int
	if !t.whole && (t.writes() || len(t.contents) > 0 && !t.backed(t.written)) {
		cursors = append(cursors, t.written)
	}
	for c := range t.contents {
		cursors = append(cursors, c.cursor)
	}
	return picker.Window(t.layout.Count(), t.held, t.n.picker.InFlight(t.id), cursors, t.width())
}

// width is how many pieces ahead the memory allows for.
func (t *task) width() int {
	share := t.n.mem.limit / 2 / max(1, int64(t.n.fills))
	return max(4, int(share/t.layout.PieceSize))
}

// urgent reports whether somebody waits for piece i. Callers hold n.mu.
func (t *task) urgent(i int) bool {
	if i == t.written {
		return true
	}
	for c := range t.contents {
		if first, ok := t.held.NextClear(uint(c.cursor)); ok && int(first) == i {
			return true
		}
	}
	return false
}

// awaited reports whether a client waits for piece i at this moment, or the sink
// does. Callers hold n.mu.
func (t *task) awaited(i int) bool {
	if i == t.written {
		return true
	}
	for c := range t.contents {
		if c.cursor == i {
			return true
		}
	}
	return false
}

// lost returns a piece that a client waits for and that the sink has seen before:
// neither memory nor the store could keep it. Callers hold n.mu.
func (t *task) lost() (i int, ok bool) {
	inflight := t.n.picker.InFlight(t.id)
	for c := range t.contents {
		if k := uint(c.cursor); c.cursor < t.written && !t.held.Test(k) && !inflight.Test(k) {
			return c.cursor, true
		}
	}
	return 0, false
}

// distance is how many pieces come before piece i for the one that gets there
// first, client or sink. Callers hold n.mu.
func (t *task) distance(i int) int {
	d := t.layout.Count()
	if !t.whole && i >= t.written {
		d = i - t.written
	}
	for c := range t.contents {
		if i >= c.cursor {
			d = min(d, i-c.cursor)
		}
	}
	return d
}

// drop lets go of a piece in memory that nothing else can give back. Callers hold
// n.mu.
func (t *task) drop(i int) {
	b := t.bufs[i]
	delete(t.bufs, i)
	t.order = slices.DeleteFunc(t.order, func(k int) bool { return k == i })
	b.release()
	if !t.backed(i) {
		t.lose(i)
	}
}

// forget drops pieces from memory until enough have gone, oldest first:
// those that can be read from the store, then those that no client waits for.
// Callers hold n.mu.
func (t *task) forget(enough func() bool) {
	for _, last := range []bool{false, true} {
		kept := t.order[:0]
		for k, i := range t.order {
			if enough() {
				kept = append(kept, t.order[k:]...)
				break
			}
			backed := t.backed(i)
			if !backed && (t.ahead(i) || !last) {
				kept = append(kept, i)
				continue
			}
			if b := t.bufs[i]; b != nil {
				delete(t.bufs, i)
				b.release()
			}
			if !backed {
				t.lose(i)
			}
		}
		t.order = kept
	}
}

// loseFrom says that piece i can no longer be read here, and neither can those
// after it that have gone with it. Callers hold n.mu.
func (t *task) loseFrom(i int) {
	for ; i < t.layout.Count() && t.held.Test(uint(i)) && t.bufs[i] == nil && !t.backed(i); i++ {
		t.lose(i)
	}
}

// lose says that piece i can no longer be read here. Callers hold n.mu.
func (t *task) lose(i int) {
	if t.held.Test(uint(i)) {
		t.held.Clear(uint(i))
		t.doubtful.Clear(uint(i))
		t.n.picker.Drop(t.id, i)
		t.rewindow()
		t.n.snapshotDue(t.id)
		t.notify()
	}
}

// backed reports whether piece i can be read from the store.
func (t *task) backed(i int) bool {
	return t.blob != nil || t.ingest != nil && t.ingest.Available() >= t.layout.End(i)
}

// ahead reports whether a client has yet to read piece i.
func (t *task) ahead(i int) bool {
	for c := range t.contents {
		if i >= c.cursor {
			return true
		}
	}
	return false
}

// fail ends the fill, or the reading of what was lost of a whole blob. Callers
// hold n.mu.
func (t *task) fail(err error) {
	if t.err != nil {
		return
	}
	var known *oci.Error
	if !errors.As(err, &known) {
		err = oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "blob %s: %v", t.dgst, err)
	}
	t.err, t.ended = err, time.Now()
	if !t.whole {
		t.n.fills--
	}
	t.dropMemory()
	t.n.picker.RemoveBlob(t.id)
	t.n.leave(t)
	t.notify()
	t.cancel()
}

func (t *task) dropMemory() {
	for i, b := range t.bufs {
		delete(t.bufs, i)
		b.release()
	}
	t.order = nil
}
