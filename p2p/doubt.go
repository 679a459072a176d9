package p2p

import (
	"context"
	"crypto/sha256"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// While the supernode is gone, nobody names the digests of the pieces that it
// had not read. The nodes deal them out, each reads its share from the upstream
// and sends that to the others. What comes so is in doubt: it goes into the
// store, but no client and no other node gets it before the whole blob has been
// checked. If that fails, the blob is filled again, and what was in doubt comes
// from the upstream alone.

// dealt is how many pieces in a row one node reads for all. Each sends its share
// to all others: it must not be larger than theirs.
const dealt = 2

// claim is what a neighbour sent for a piece of which nobody names the digest.
type claim struct {
	node string
	hash [sha256.Size]byte // of the piece by itself
}

// sharing reports whether the task takes part in that. A store that does not
// write could not keep from clients what is in doubt, and a file has no digest that
// could end it. Callers hold n.mu.
func (t *task) sharing() bool {
	return !piece.IsFile(t.dgst) && t.n.cfg.Supernode != "" && t.n.super == nil && t.writes() && !t.betrayed
}

// doubt takes a piece of unknown digest into memory. Callers hold n.mu.
func (t *task) doubt(i int, b *buffer, c claim) {
	if t.err == nil && !t.held.Test(uint(i)) {
		t.claims[i] = c
		t.doubtful.Set(uint(i))
	}
	t.accept(i, b, theirs)
}

// settle ends the doubt about a piece that the sink has seen, if its Sum is the
// one that was named. Callers hold n.mu.
func (t *task) settle(i int) {
	if t.doubtful.Test(uint(i)) && i < len(t.seen) && t.seen[i] == t.sums[i] {
		t.doubtful.Clear(uint(i))
		t.offer(i)
	}
}

// blame drops the neighbour that sent something else for a piece than the
// upstream did. Callers hold n.mu.
func (t *task) blame(i int, data []byte) {
	c, ok := t.claims[i]
	if !ok || c.hash == sha256.Sum256(data) {
		return
	}
	t.n.cfg.Metrics.PiecesRejected.WithLabelValues("digest").Inc()
	t.n.log().WithField("blob", t.id).WithField("piece", i).WithField("node", c.node).Warn("dropping a neighbour that sent wrong bytes while the supernode was gone")
	t.n.ban(c.node)
}

// refill starts the fill again without what was in doubt, or had been left by an
// earlier fill.
func (t *task) refill(ctx context.Context) error {
	log.G(ctx).WithField("blob", t.id).Warn("the store holds wrong bytes, of a neighbour while the supernode was gone or of an earlier fill; filling the blob again")
	if err := t.ingest.Truncate(); err != nil {
		return err
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.betrayed, t.resumed = true, false
	t.dropMemory()
	for i := range t.layout.Count() {
		t.held.Clear(uint(i))
		t.n.picker.Drop(t.id, i)
	}
	t.doubtful.ClearAll()
	t.unchecked.ClearAll()
	t.written, t.seen = 0, nil
	t.rewindow()
	t.notify()
	return nil
}

// share picks what this node reads for all. Callers hold n.mu.
func (t *task) share(want, offered *piece.Bitfield, hurry bool) (picker.Run, bool) {
	r, ok := picker.NextShare(want.Difference(offered), dealt, t.n.cfg.ID, t.n.picker.Members(t.id))
	if !ok && hurry { // those whose share it is do not get on
		return picker.NextRun(want, offered, want, fallbackRun, t.n.rand)
	}
	return r, ok
}
