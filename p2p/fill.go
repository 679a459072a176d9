package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// run fills the blob and keeps its backing open until the task ends.
func (t *task) run() {
	ctx := t.ctx
	var wg sync.WaitGroup
	if t.blob != nil {
		if t.n.cfg.Seed {
			wg.Go(func() { t.proveStored(ctx) })
		}
	} else {
		wg.Go(func() { t.readUpstream(ctx) })
		wg.Go(func() { t.sink(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	t.n.mu.Lock()
	if t.err == nil {
		t.err = oci.Errorf(oci.SideStore, http.StatusServiceUnavailable, oci.CodeUnavailable, "blob %s: the node let go of it", t.dgst)
	}
	ingest, blob := t.ingest, t.blob
	t.dropMemory()
	t.notify()
	t.n.mu.Unlock()
	if ingest != nil {
		_ = ingest.Close()
	}
	if blob != nil {
		_ = blob.Close()
	}
}

// wait returns when ready does, at the latest when ctx ends. ready is called
// with n.mu held, after every step forward.
func (t *task) wait(ctx context.Context, ready func() bool) error {
	for {
		t.n.mu.Lock()
		if ready() {
			t.n.mu.Unlock()
			return nil
		}
		changed := t.changed
		t.n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sink hands the pieces to the ingest in order, checks the whole blob, and
// commits it.
func (t *task) sink(ctx context.Context) {
	if t.wait(ctx, func() bool { return t.known }) != nil {
		return
	}
	if err := t.openIngest(ctx); err != nil {
		t.failWith(err)
		return
	}
	for {
		for t.written < t.layout.Count() {
			i := t.written
			var b *buffer
			if t.wait(ctx, func() bool { b = t.bufs[i]; return b != nil || !t.keeps && t.backed(i) }) != nil {
				return
			}
			if b != nil {
				t.write(ctx, i, b)
			} else if t.readBack(ctx, i) != nil {
				return
			}
		}
		if t.finish(ctx) {
			return
		}
	}
}

// openIngest starts or resumes the ingest. Where the store cannot take the
// blob, it streams on without being kept.
func (t *task) openIngest(ctx context.Context) error {
	ingest, err := t.n.cfg.Store.Ingest(ctx, t.dgst, t.layout.Size)
	for deadline := time.Now().Add(2 * time.Second); errdefs.IsUnavailable(err) && time.Now().Before(deadline); {
		if err := pause(ctx, 20*time.Millisecond); err != nil { // the fill before this one is letting go
			return err
		}
		ingest, err = t.n.cfg.Store.Ingest(ctx, t.dgst, t.layout.Size)
	}
	switch {
	case err == nil:
	case errdefs.IsAlreadyExists(err):
		ingest, err = t.adopt(ctx)
		if err != nil {
			return err
		}
	case t.n.cfg.Seed:
		return oci.Errorf(oci.SideStore, http.StatusInsufficientStorage, oci.CodeUnavailable,
			"blob %s: the supernode's store does not take it: %v", t.dgst, err)
	default:
		t.n.cfg.Metrics.Fallback.WithLabelValues("store").Inc()
		log.G(ctx).WithError(err).WithField("blob", t.id).Warn("the store does not take the blob; streaming it without storing")
		ingest = newPassing(t.dgst, nil)
	}
	if ingest.Offset() > t.layout.Size {
		if err := ingest.Truncate(); err != nil {
			_ = ingest.Close()
			return err
		}
	}
	resumed := int(ingest.Offset() / t.layout.PieceSize)
	if ingest.Offset() == t.layout.Size {
		resumed = t.layout.Count()
	}
	var proofs []piece.Digest
	if t.n.cfg.Seed && resumed > 0 {
		if proofs, err = hashPieces(ctx, ingest, t.layout, 0, resumed, nil); err != nil {
			_ = ingest.Close()
			return err
		}
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.ingest = ingest
	_, lost := ingest.(*passing)
	t.keeps = t.n.cfg.Store.Writes() && !lost
	for i := range resumed {
		if b := t.bufs[i]; b != nil { // read again before the ingest was open
			delete(t.bufs, i)
			b.release()
		}
		t.held.Set(uint(i))
		if proofs != nil {
			t.prove(i, proofs[i])
			t.n.picker.Hold(t.id, i)
		}
	}
	t.written = resumed
	t.rewindow()
	t.n.digestsDue(t)
	t.n.pump()
	t.notify()
	return nil
}

// adopt reads a blob that somebody else has put into the store meanwhile.
func (t *task) adopt(ctx context.Context) (Ingest, error) {
	blob, err := t.n.cfg.Store.Open(ctx, t.dgst)
	if err != nil {
		return nil, err
	}
	return &committed{Blob: blob, dgst: t.dgst}, nil
}

// write hands piece i to the ingest and lets its memory go if the store has it.
func (t *task) write(ctx context.Context, i int, b *buffer) {
	skip := t.ingest.Offset() - t.layout.Offset(i) // a part may be left from before
	if _, err := t.ingest.Write(b.data[skip:]); err != nil {
		if t.n.cfg.Seed {
			t.failWith(oci.Errorf(oci.SideStore, http.StatusInsufficientStorage, oci.CodeUnavailable,
				"blob %s: the supernode's store failed: %v", t.dgst, err))
			return
		}
		t.n.cfg.Metrics.Fallback.WithLabelValues("store").Inc()
		log.G(ctx).WithError(err).WithField("blob", t.id).Error("the store failed; streaming the blob without storing")
		passing, err := resumePassing(t.dgst, t.ingest, t.layout.Offset(i))
		if err != nil {
			t.failWith(oci.Errorf(oci.SideStore, http.StatusBadGateway, oci.CodeUnavailable, "blob %s: the store cannot be read back: %v", t.dgst, err))
			return
		}
		_, _ = passing.Write(b.data)
		t.n.mu.Lock()
		t.ingest, t.keeps = passing, false
		t.notify()
		t.n.mu.Unlock()
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.written = i + 1
	if t.bufs[i] == b {
		if t.backed(i) {
			delete(t.bufs, i)
			b.release()
		} else {
			t.order = append(t.order, i)
		}
	}
	t.rewindow()
	t.notify()
}

// readBack hands to the ingest what somebody else has put into the store: the
// client that went on in the middle of a blob wrote its beginning before.
func (t *task) readBack(ctx context.Context, i int) error {
	buf := make([]byte, min(256<<10, t.layout.Len(i)))
	for off := t.ingest.Offset(); off < t.layout.End(i); off = t.ingest.Offset() {
		p := buf[:min(int64(len(buf)), t.layout.End(i)-off)]
		_, err := readFullAt(t.ingest, p, off)
		if err == nil {
			_, err = t.ingest.Write(p)
		}
		if err != nil { // gone again
			log.G(ctx).WithError(err).WithField("blob", t.id).Debug("a piece cannot be read back")
			return pause(ctx, readBackEvery)
		}
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.written = i + 1
	t.held.Set(uint(i))
	t.rewindow()
	t.notify()
	return nil
}

// readBackEvery is the pause after a piece could not be read back.
const readBackEvery = 50 * time.Millisecond

// finish checks the whole blob against its digest and commits it. It reports
// false if the blob must be filled again.
func (t *task) finish(ctx context.Context) bool {
	if got := t.ingest.Digest(); got != t.dgst {
		if t.doubts() {
			err := t.refill(ctx)
			if err != nil {
				t.failWith(err)
			}
			return err != nil
		}
		t.n.cfg.Metrics.PiecesRejected.WithLabelValues("blob_digest").Add(float64(t.layout.Count()))
		err := oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
			"the upstream sent wrong bytes for blob %s: they hash to %s; nothing was kept, check the upstream registry's storage", t.dgst, got)
		log.G(ctx).Error(err.Message)
		if e := t.ingest.Truncate(); e != nil {
			log.G(ctx).WithError(e).WithField("blob", t.id).Warn("the store could not discard wrong bytes")
		}
		t.failWith(err)
		return true
	}
	t.n.mu.Lock()
	t.becomeWhole()
	t.n.mu.Unlock()
	for !t.commit(ctx) { // until whoever commits has done so
		if pause(ctx, commitEvery) != nil {
			return true
		}
	}
	return true
}

// commitEvery is how often the store is asked whether somebody else has
// committed a blob.
const commitEvery = time.Second

// becomeWhole says that the blob's own digest was right. Callers hold n.mu.
func (t *task) becomeWhole() {
	if t.whole {
		return
	}
	t.whole, t.ended, t.used = true, time.Now(), time.Now()
	t.n.fills--
	t.n.cfg.Metrics.BlobSeconds.Observe(t.ended.Sub(t.started).Seconds())
	for i := range t.held.EachSet() {
		t.n.picker.Hold(t.id, int(i))
	}
	t.rewindow()
	t.n.snapshotDue(t.id)
	t.n.pump()
	t.notify()
}

// commit makes the store keep the blob and tells the supernode. It reports
// whether there is nothing more to do.
func (t *task) commit(ctx context.Context) bool {
	err := t.ingest.Commit(ctx)
	switch {
	case errdefs.IsUnavailable(err):
		return false
	case err != nil && !errdefs.IsAlreadyExists(err):
		log.G(ctx).WithError(err).WithField("blob", t.id).Error("the store could not commit the blob")
		return true
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.stored = true
	t.n.announce(t.dgst, t.layout.Size)
	t.notify()
	return true
}

// failWith ends the fill.
func (t *task) failWith(err error) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.fail(err)
}

// proveStored hashes the pieces of a blob out of the store, for the seed to
// name them.
func (t *task) proveStored(ctx context.Context) {
	if t.n.recall(t) {
		return
	}
	_, err := hashPieces(ctx, t.blob, t.layout, 0, t.layout.Count(), func(i int, d piece.Digest) {
		t.n.mu.Lock()
		t.prove(i, d)
		t.n.picker.Hold(t.id, i)
		t.n.digestsDue(t)
		t.n.pump()
		t.n.mu.Unlock()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		log.G(ctx).WithError(err).WithField("blob", t.id).Error("the store cannot be read back")
	}
}

// hashPieces returns the digests of pieces first to last of what r holds, and
// hands each to each as it is known.
func hashPieces(ctx context.Context, r readerAt, l piece.Layout, first, last int, each func(int, piece.Digest)) ([]piece.Digest, error) {
	buf := make([]byte, 256<<10)
	out := make([]piece.Digest, 0, last-first)
	for i := first; i < last; i++ {
		h := sha256.New()
		for off := l.Offset(i); off < l.End(i); {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			n := min(int64(len(buf)), l.End(i)-off)
			if _, err := readFullAt(r, buf[:n], off); err != nil {
				return nil, err
			}
			h.Write(buf[:n])
			off += n
		}
		d := piece.Digest(h.Sum(nil))
		out = append(out, d)
		if each != nil {
			each(i, d)
		}
	}
	return out, nil
}
