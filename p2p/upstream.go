package p2p

import (
	"context"
	"net/http"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

const (
	// upstreamTries is how often a request that brought nothing is repeated.
	upstreamTries = 4
	// fallbackRun is how many proven pieces a node without its supernode
	// reads at a time, so that others read other ones.
	fallbackRun = 8
	// orphaned is how long an agent that lost its supernode waits for it.
	orphaned = 400 * time.Millisecond
	// patience is how long it waits for a piece that a neighbour could send.
	patience = 500 * time.Millisecond
)

// readUpstream reads from the upstream what this node cannot expect from
// others: everything for a seed or a node without a supernode, nothing while
// the supernode provides.
func (t *task) readUpstream(ctx context.Context) {
	reason := ""
	for {
		why, err := t.waitForNeed(ctx)
		if err != nil {
			return
		}
		if string(why) != reason {
			reason = string(why)
			if why != alone {
				t.n.cfg.Metrics.Fallback.WithLabelValues(reason).Inc()
				log.G(ctx).WithField("blob", t.id).WithField("reason", reason).Info("reading from the upstream")
			}
		}
		r, changed, ok := t.nextRun()
		if !ok {
			select {
			case <-changed:
			case <-time.After(patience):
			case <-ctx.Done():
				return
			}
			continue
		}
		if err := t.readRun(ctx, r); err != nil {
			if ctx.Err() == nil {
				t.failWith(err)
			}
			return
		}
	}
}

// need is why a node reads from the upstream itself.
type need string

const (
	none        need = ""
	done        need = "done"
	alone       need = "alone"
	noSupernode need = "supernode_unreachable"
	superFailed need = "supernode_failed"
)

// need tells whether the task must read from the upstream now. Callers hold
// n.mu.
func (t *task) need() need {
	switch {
	case !t.filling():
		return done
	case t.known && t.ingest == nil:
		return none // the ingest may hold a part
	case t.n.cfg.Supernode == "":
		return alone
	case t.superFailed:
		return superFailed
	case t.n.super == nil && time.Since(t.n.superLost) >= orphaned:
		return noSupernode
	}
	return none
}

func (t *task) waitForNeed(ctx context.Context) (why need, err error) {
	for {
		t.n.mu.Lock()
		why = t.need()
		changed := t.changed
		var timer <-chan time.Time
		if why == none && t.n.cfg.Supernode != "" && t.n.super == nil {
			timer = time.After(orphaned)
		}
		t.n.mu.Unlock()
		if why != none && why != done { // what is done may be lost again
			return why, nil
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
}

// nextRun picks what to read. Before the blob's size is known that is its
// beginning. If there is nothing to read, changed closes at the next step.
func (t *task) nextRun() (r picker.Run, changed <-chan struct{}, ok bool) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	if t.filling() { // it may have failed since it was asked
		r, ok = t.chooseRun()
	}
	return r, t.changed, ok
}

func (t *task) chooseRun() (picker.Run, bool) {
	if !t.known {
		return picker.Run{}, true
	}
	pieces := t.layout.Count()
	if i, ok := t.lost(); ok && t.n.picker.Copies(t.id, i) == 0 {
		return picker.Run{First: i, Count: pieces - i}, true
	}
	if t.n.cfg.Seed || t.n.cfg.Supernode == "" {
		first, ok := t.window().NextSet(0)
		return picker.Run{First: int(first), Count: pieces - int(first)}, ok
	}
	want := t.window()
	offered := piece.NewBitfield(pieces)
	hurry := time.Since(t.progress) >= 2*patience
	usable := t.proven
	if t.sharing() {
		usable = want
	}
	if !hurry {
		for i := range want.Intersection(usable).EachSet() {
			if t.n.picker.Copies(t.id, int(i)) > 0 {
				offered.Set(i)
			}
		}
	}
	if t.sharing() {
		return t.share(want, offered, hurry)
	}
	return picker.NextRun(want, offered, t.proven, fallbackRun, t.n.rand)
}

// inReach reports whether piece i is near enough to what clients read, or what the
// sink checks for them. A store that writes takes everything.
func (t *task) inReach(i int) bool {
	if t.writes() {
		return true
	}
	width := t.width()
	if !t.whole && len(t.contents) > 0 && i >= t.written && i < t.written+width {
		return true
	}
	for c := range t.contents {
		if i >= c.cursor && i < c.cursor+width {
			return true
		}
	}
	return false
}

// readRun reads consecutive pieces in one request, and goes on from the byte
// where it broke off.
func (t *task) readRun(ctx context.Context, r picker.Run) error {
	t.n.mu.Lock()
	known, layout := t.known, t.layout
	t.n.mu.Unlock()
	offset, end := int64(0), int64(0)
	if known {
		if layout.Size == 0 {
			return nil
		}
		offset = layout.Offset(r.First)
		if last := r.First + r.Count - 1; last < layout.Count()-1 {
			end = layout.End(last)
		}
	}
	body, size, err := t.openUpstream(ctx, offset, end)
	if err != nil {
		return err
	}
	u := &upstreamBody{t: t, body: body, offset: offset, end: end}
	defer u.close()
	if !known {
		fresh, err := t.learnSize(ctx, size)
		if err != nil || !fresh {
			return err
		}
		layout = t.layout
		r.Count = layout.Count()
	} else if size >= 0 && size != layout.Size {
		return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable,
			"blob %s: the upstream says it has %d bytes, the swarm says %d", t.dgst, size, layout.Size)
	}
	for i := r.First; i < r.First+r.Count; i++ {
		ok, err := t.readPiece(ctx, u, i)
		if err != nil || !ok {
			return err
		}
	}
	return nil
}

// learnSize cuts the blob. It waits for the ingest, and reports whether that is
// empty: what an earlier one left is not read again.
func (t *task) learnSize(ctx context.Context, size int64) (fresh bool, err error) {
	l := piece.LayoutFor(size)
	if size < 0 || l.Validate() != nil {
		return false, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable,
			"blob %s: the upstream gives no usable size (%d)", t.dgst, size)
	}
	t.n.mu.Lock()
	if !t.known {
		t.setLayout(l)
	}
	t.n.tellTask(t)
	t.n.mu.Unlock()
	err = t.wait(ctx, func() bool { return t.ingest != nil || t.err != nil })
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	if err == nil && t.err != nil {
		err = t.err
	}
	return t.held.None() && l == t.layout, err
}

// readPiece reads piece i. ok is false if the run ends before it: it is here
// already, or no longer wanted from the upstream.
func (t *task) readPiece(ctx context.Context, u *upstreamBody, i int) (ok bool, err error) {
	b, err := t.takeWaiting(ctx, i)
	if err != nil || b == nil {
		return false, err
	}
	t.n.mu.Lock()
	link, want := t.expect(i)
	t.n.mu.Unlock()
	err = u.readFull(ctx, b.data, link)
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.n.picker.Landed(t.id, i)
	if err != nil {
		b.release()
		return false, err
	}
	e := ours
	switch {
	case link == nil:
	case link.Sum() == want:
		e = checked
	case i < t.chain.Named(): // at the last of a blob, the sink tells what is wrong
		b.release()
		t.n.cfg.Metrics.PiecesRejected.WithLabelValues("digest").Inc()
		return false, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
			"the upstream sent wrong bytes for piece %d of blob %s", i, t.dgst)
	}
	t.blame(i, b.data)
	t.accept(i, b, e)
	return true, nil
}

// takeWaiting waits until piece i may be read and there is memory for it. It
// returns nil if something else is to be read.
func (t *task) takeWaiting(ctx context.Context, i int) (*buffer, error) {
	for {
		room := t.n.mem.roomChanged()
		t.n.mu.Lock()
		why := t.need()
		if why == none || why == done || t.held.Test(uint(i)) || t.n.picker.InFlight(t.id).Test(uint(i)) {
			t.n.mu.Unlock()
			return nil, nil
		}
		changed := t.changed
		if t.inReach(i) || t.n.cfg.Supernode != "" {
			if b := t.n.takeMemory(t, i); b != nil {
				t.n.picker.Fetch(t.id, i)
				t.n.mu.Unlock()
				return b, nil
			}
		}
		if k, ok := t.lost(); ok && k != i {
			t.n.mu.Unlock()
			return nil, nil
		}
		t.n.mu.Unlock()
		select {
		case <-room:
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
