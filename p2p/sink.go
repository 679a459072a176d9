package p2p

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

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
	for t.written < t.layout.Count() {
		i := t.written
		var b *buffer
		if t.wait(ctx, func() bool {
			if b = t.bufs[i]; b != nil {
				b.hold()
			}
			return b != nil || !t.keeps && t.backed(i)
		}) != nil {
			return
		}
		var right bool
		var err error
		if b != nil {
			right, err = t.take(ctx, i, b)
			b.release()
		} else {
			right, err = t.readBack(ctx, i)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.failWith(err)
			return
		}
		if !right && !t.wrong(ctx) {
			return
		}
	}
	t.finish(ctx)
}

// take checks piece i, hands it to the ingest, and lets its memory go if the store
// has it. It reports false if the bytes are wrong.
func (t *task) take(ctx context.Context, i int, b *buffer) (right bool, err error) {
	link, follows := t.next(i)
	if !follows {
		return false, nil
	}
	skip := t.ingest.Offset() - t.layout.Offset(i) // a part may be left from before
	if skip > 0 {
		if same, err := sameBytes(t.ingest, b.data[:skip], t.layout.Offset(i)); err != nil || !same {
			return false, err
		}
	}
	wrote := make(chan error, 1)
	go func() { wrote <- t.write(ctx, i, b.data[skip:]) }()
	var sum piece.Sum
	if link != nil {
		_, _ = link.Write(b.data)
		sum = link.Sum()
	}
	t.n.mu.Lock()
	right = t.saw(i, sum) // others need not wait for the disk
	t.n.mu.Unlock()
	if err := <-wrote; err != nil || !right {
		return right, err
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
	return true, nil
}

// write hands piece i to the ingest, but for the bytes that it has. Where the store
// fails, an agent goes on without it.
func (t *task) write(ctx context.Context, i int, p []byte) error {
	_, err := t.ingest.Write(p)
	if err == nil {
		return nil
	}
	if t.n.cfg.Seed {
		return oci.Errorf(oci.SideStore, http.StatusInsufficientStorage, oci.CodeUnavailable,
			"blob %s: the supernode's store failed: %v", t.dgst, err)
	}
	t.n.cfg.Metrics.Fallback.WithLabelValues("store").Inc()
	log.G(ctx).WithError(err).WithField("blob", t.id).Error("the store failed; streaming the blob without storing")
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.ingest, t.keeps = &passing{before: t.ingest, offset: t.layout.End(i), kept: t.layout.Offset(i)}, false
	t.passing = true
	t.notify()
	return nil
}

// readBack hands to the ingest what somebody else has put into the store: the
// client that went on in the middle of a blob wrote its beginning before.
func (t *task) readBack(ctx context.Context, i int) (right bool, err error) {
	t.n.mu.Lock()
	before := piece.Sum("")
	if i > 0 {
		before = t.seen[i-1]
	}
	t.n.mu.Unlock()
	link := t.chain.Begin(i, before)
	buf := make([]byte, min(256<<10, t.layout.Len(i)))
	for off := t.layout.Offset(i); off < t.layout.End(i); off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), t.layout.End(i)-off)]
		if _, err := readFullAt(t.ingest, buf, off); err != nil { // gone again
			log.G(ctx).WithError(err).WithField("blob", t.id).Debug("a piece cannot be read back")
			return true, pause(ctx, readBackEvery)
		}
		_, _ = link.Write(buf)
	}
	// It looks on: it only counts.
	for off := t.ingest.Offset(); off < t.layout.End(i); off = t.ingest.Offset() {
		buf = buf[:min(int64(cap(buf)), t.layout.End(i)-off)]
		if _, err := t.ingest.Write(buf); err != nil {
			return true, err
		}
	}
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.held.Set(uint(i))
	t.unchecked.Set(uint(i))
	if !t.saw(i, link.Sum()) {
		return false, nil
	}
	t.written = i + 1
	t.rewindow()
	t.notify()
	return true, nil
}

// readBackEvery is the pause after a piece could not be read back.
const readBackEvery = 50 * time.Millisecond

// finish commits the blob: all its pieces are right, and so is the whole.
func (t *task) finish(ctx context.Context) {
	if t.layout.Size == 0 && !piece.IsFile(t.dgst) && t.dgst != t.dgst.Algorithm().FromBytes(nil) {
		t.wrong(ctx)
		return
	}
	t.n.mu.Lock()
	t.becomeWhole()
	t.n.mu.Unlock()
	for !t.commit(ctx) { // until whoever commits has done so
		if pause(ctx, commitEvery) != nil {
			return
		}
	}
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

// sameBytes reports whether r holds p at an offset.
func sameBytes(r readerAt, p []byte, off int64) (bool, error) {
	got := make([]byte, len(p))
	_, err := readFullAt(r, got, off)
	return bytes.Equal(got, p), err
}
