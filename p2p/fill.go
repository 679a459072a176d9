package p2p

import (
	"context"
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

// openIngest starts or resumes the ingest. Where the store cannot take the
// blob, it streams on without being kept.
func (t *task) openIngest(ctx context.Context) error {
	ingest, err := t.receive(ctx)
	if err != nil {
		return err
	}
	sums, err := t.sumsOf(ctx, ingest)
	if err != nil {
		_ = ingest.Close()
		return err
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.ingest = ingest
	_, t.passing = ingest.(*passing)
	t.keeps = t.writes()
	t.written, t.seen = len(sums), sums
	t.resumed = ingest.Offset() > 0
	for i, s := range sums {
		if b := t.bufs[i]; b != nil { // read again before the ingest was open
			delete(t.bufs, i)
			b.release()
		}
		t.held.Set(uint(i))
		t.unchecked.Clear(uint(i))
		switch {
		case t.n.cfg.Seed:
			t.prove(i, s)
			t.n.picker.Hold(t.id, i)
		case t.n.cfg.Supernode != "":
			t.doubtful.Set(uint(i))
			t.settle(i)
		}
	}
	t.rewindow()
	t.n.sumsDue(t)
	t.n.pump()
	t.notify()
	return nil
}

// receive starts or resumes receiving the blob.
func (t *task) receive(ctx context.Context) (Ingest, error) {
	t.n.mu.Lock()
	transient := t.transient()
	t.n.mu.Unlock()
	if transient {
		return &passing{}, nil
	}
	ingest, err := t.n.cfg.Store.Ingest(ctx, t.dgst, t.layout.Size)
	for deadline := time.Now().Add(2 * time.Second); errdefs.IsUnavailable(err) && time.Now().Before(deadline); {
		if err := pause(ctx, 20*time.Millisecond); err != nil { // the fill before this one is letting go
			return nil, err
		}
		ingest, err = t.n.cfg.Store.Ingest(ctx, t.dgst, t.layout.Size)
	}
	switch {
	case err == nil:
	case errdefs.IsAlreadyExists(err):
		return t.adopt(ctx)
	case errdefs.IsNotImplemented(err): // it keeps none such
		ingest = &passing{}
	case t.n.cfg.Seed:
		return nil, oci.Errorf(oci.SideStore, http.StatusInsufficientStorage, oci.CodeUnavailable,
			"blob %s: the supernode's store does not take it: %v", t.dgst, err)
	default:
		t.n.cfg.Metrics.Fallback.WithLabelValues("store").Inc()
		log.G(ctx).WithError(err).WithField("blob", t.id).Warn("the store does not take the blob; streaming it without storing")
		ingest = &passing{}
	}
	if ingest.Offset() > t.layout.Size || t.leftInDoubt(ingest) {
		if err := ingest.Truncate(); err != nil {
			_ = ingest.Close()
			return nil, err
		}
	}
	return ingest, nil
}

// leftInDoubt reports whether an earlier fill has left what might never be
// compared with anything: a part of a file, whose Sums only a supernode names.
func (t *task) leftInDoubt(ingest Ingest) bool {
	_, whole := ingest.(*committed)
	return piece.IsFile(t.dgst) && t.n.cfg.Supernode != "" && ingest.Offset() > 0 && !whole
}

// adopt reads a blob that somebody else has put into the store meanwhile.
func (t *task) adopt(ctx context.Context) (Ingest, error) {
	blob, err := t.n.cfg.Store.Open(ctx, t.dgst)
	if err != nil {
		return nil, err
	}
	return &committed{Blob: blob}, nil
}

// sumsOf returns the Sums of the pieces that an ingest has been left with. It
// discards them all if they are not the blob's, as far as that can be told.
func (t *task) sumsOf(ctx context.Context, ingest Ingest) ([]piece.Sum, error) {
	pieces := int(ingest.Offset() / t.layout.PieceSize)
	if ingest.Offset() == t.layout.Size {
		pieces = t.layout.Count()
	}
	if pieces == 0 && ingest.Offset() > 0 { // not worth it
		return nil, ingest.Truncate()
	}
	sums, err := hashPieces(ctx, ingest, t.chain, pieces, nil)
	if err != nil {
		return nil, err
	}
	if pieces < t.layout.Count() || t.chain.Named() == pieces || sums[pieces-1] == t.chain.Last() {
		return sums, nil
	}
	if _, ok := ingest.(*committed); ok {
		return nil, oci.Errorf(oci.SideStore, http.StatusBadGateway, oci.CodeDigestInvalid,
			"the store holds wrong bytes for blob %s; remove it there", t.dgst)
	}
	log.G(ctx).WithField("blob", t.id).Warn("the store was left with wrong bytes; filling the blob again")
	return nil, ingest.Truncate()
}

// proveStored hashes the pieces of a blob out of the store, for the seed to
// name them.
func (t *task) proveStored(ctx context.Context) {
	if t.n.recall(t) {
		return
	}
	_, err := hashPieces(ctx, t.blob, t.chain, t.layout.Count(), func(i int, s piece.Sum) error {
		t.n.mu.Lock()
		defer t.n.mu.Unlock()
		if !t.prove(i, s) {
			return errors.New("it has other bytes than its digest says")
		}
		t.n.picker.Hold(t.id, i)
		t.n.sumsDue(t)
		t.n.pump()
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		log.G(ctx).WithError(err).WithField("blob", t.id).Error("the store cannot be read back")
	}
}

// hashPieces returns the Sums of the first pieces of what r holds, and hands each to
// each as it is known.
func hashPieces(ctx context.Context, r readerAt, c piece.Chain, pieces int, each func(int, piece.Sum) error) ([]piece.Sum, error) {
	buf := make([]byte, 256<<10)
	out := make([]piece.Sum, 0, pieces)
	sum, l := piece.Sum(""), c.Layout()
	for i := range pieces {
		link := c.Begin(i, sum)
		for off := l.Offset(i); off < l.End(i); {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			n := min(int64(len(buf)), l.End(i)-off)
			if _, err := readFullAt(r, buf[:n], off); err != nil {
				return nil, err
			}
			_, _ = link.Write(buf[:n])
			off += n
		}
		sum = link.Sum()
		out = append(out, sum)
		if each == nil {
			continue
		}
		if err := each(i, sum); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// failWith ends the fill.
func (t *task) failWith(err error) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.fail(err)
}
