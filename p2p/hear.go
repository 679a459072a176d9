package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

var (
	errNotSeed      = errors.New("p2p: neighbour speaks to this node as to a supernode")
	errNotSupernode = errors.New("p2p: neighbour speaks as a supernode, which it is not")
)

// hear takes checked frames from a neighbour, and offers when all are known. An
// error ends the stream.
func (n *Node) hear(nb *neighbour, frames []*wire.Frame) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	nb.heard = time.Now()
	n.picker.SetQuiet(nb.id, false)
	for _, f := range frames {
		if err := n.hearFrame(nb, f); err != nil {
			return err
		}
	}
	n.pump()
	return nil
}

func (n *Node) hearFrame(nb *neighbour, f *wire.Frame) error {
	switch k := f.GetKind().(type) {
	case *wire.Frame_Snapshot:
		return n.hearSnapshot(nb, k.Snapshot)
	case *wire.Frame_Slots:
		n.picker.SetFree(nb.id, k.Slots.GetFree())
	case *wire.Frame_Offer:
		n.hearOffer(nb, k.Offer)
	case *wire.Frame_Reject:
		n.hearReject(nb, k.Reject)
	case *wire.Frame_Leave:
		n.hearLeave(nb, k.Leave.GetBlob())
	case *wire.Frame_Join, *wire.Frame_Announce:
		if !n.cfg.Seed {
			return errNotSeed
		}
		n.hearAgent(nb, f)
	case *wire.Frame_Task, *wire.Frame_Sums, *wire.Frame_Failure:
		if nb != n.super {
			return errNotSupernode
		}
		return n.hearSupernode(nb, f)
	}
	return nil
}

func (n *Node) hearSnapshot(nb *neighbour, s *wire.Snapshot) error {
	t := n.tasks[s.GetBlob()]
	if t == nil || t.err != nil {
		n.activate(nb, s)
		return nil
	}
	if !t.known {
		t.peers[nb.id] = nb.addr // we answer when we know more
		return nil
	}
	if t.layout.Size != s.GetSize() || t.layout.PieceSize != s.GetPieceSize() {
		return fmt.Errorf("p2p: neighbour cuts %d bytes of blob %s into pieces of %d, not %d into %d",
			s.GetSize(), t.id, s.GetPieceSize(), t.layout.Size, t.layout.PieceSize)
	}
	have, err := piece.Decode(s.GetHave(), t.layout.Count())
	if err != nil {
		return err
	}
	want, err := piece.Decode(s.GetWant(), t.layout.Count())
	if err != nil {
		return err
	}
	if want.Any() {
		t.used = time.Now()
	}
	nb.share(t.id)
	n.picker.Observe(nb.id, t.id, picker.Snapshot{Have: have, Want: want, Lonely: s.GetPeers() == 0, Starved: s.GetStarved()})
	return nil
}

// activate looks in the store for a blob that a neighbour asks about, and
// serves it if it is there. Callers hold n.mu.
func (n *Node) activate(nb *neighbour, s *wire.Snapshot) {
	blob := s.GetBlob()
	if len(s.GetWant()) == 0 || n.activating[blob] || len(n.activating) >= maxActivating || n.stopped {
		return
	}
	n.activating[blob] = true
	n.spawn(func() {
		ctx, cancel := context.WithTimeout(n.life(), openTimeout)
		defer cancel()
		b, err := n.cfg.Store.Open(ctx, digest.Digest(blob))
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.activating, blob)
		switch {
		case err != nil || b.Size() != s.GetSize():
			nb.say(&wire.Frame{Kind: &wire.Frame_Leave{Leave: &wire.Leave{Blob: blob}}})
			n.holdings.forget(digest.Digest(blob))
			if n.super != nil && n.super != nb {
				n.super.say(&wire.Frame{Kind: &wire.Frame_Leave{Leave: &wire.Leave{Blob: blob}}})
			}
		case n.tasks[blob] == nil:
			n.serve(digest.Digest(blob), b)
			_ = n.hearSnapshot(nb, s)
			n.pump()
			return
		}
		if b != nil {
			_ = b.Close()
		}
	})
}

// serve makes a task of a blob out of the store. Callers hold n.mu.
func (n *Node) serve(dgst digest.Digest, b Blob) *task {
	t := n.newTask(dgst)
	t.blob = b
	t.setLayout(piece.LayoutFor(b.Size()))
	t.held = piece.Full(t.layout.Count())
	t.written, t.whole, t.stored = t.layout.Count(), true, true
	t.ended = time.Now()
	if !n.cfg.Seed { // a seed names the digests first
		n.picker.HoldAll(t.id)
	}
	n.start(t)
	n.pin(t)
	return t
}

func (n *Node) hearOffer(nb *neighbour, o *wire.Offer) {
	t, i := n.tasks[o.GetBlob()], int(o.GetPiece())
	nb.saidFree = false // whoever offers takes us for busy until we say more
	why := picker.Have
	if t != nil && t.known && t.ingest != nil {
		why = n.picker.Accept(t.id, i, nb.seed)
	}
	if why == picker.Accepted {
		b := n.takeMemory(t, i)
		if b != nil {
			n.slotsChanged()
			if !n.spawn(func() { n.download(nb, t, i, b) }) {
				b.release()
			}
			return
		}
		n.picker.Landed(t.id, i)
		n.picker.EndDownload()
		t.rewindow()
		why = picker.Busy
	}
	reason := wire.Reject_REASON_HAVE
	if why == picker.Busy {
		reason = wire.Reject_REASON_BUSY
	}
	nb.offer(&wire.Frame{Kind: &wire.Frame_Reject{Reject: &wire.Reject{Blob: o.GetBlob(), Piece: o.GetPiece(), Reason: reason}}})
}

func (n *Node) hearReject(nb *neighbour, r *wire.Reject) {
	o := picker.Offer{Node: nb.id, Blob: r.GetBlob(), Piece: int(r.GetPiece())}
	if !n.closeOffer(o) {
		return
	}
	why := picker.Have
	if r.GetReason() == wire.Reject_REASON_BUSY {
		why = picker.Busy
	}
	n.picker.Lost(o, why)
	n.picker.EndUpload(o)
}

func (n *Node) hearLeave(nb *neighbour, blob string) {
	n.picker.Forget(nb.id, blob)
	delete(nb.shares, blob)
	delete(nb.due, blob)
	delete(nb.told, blob)
	if n.cfg.Seed {
		n.cfg.Tracker.Leave(nb.id, digest.Digest(blob))
		if t := n.tasks[blob]; t != nil {
			t.replaceEntry(nb)
		}
	}
}

func (n *Node) hearSupernode(nb *neighbour, f *wire.Frame) error {
	switch k := f.GetKind().(type) {
	case *wire.Frame_Task:
		return n.hearTask(nb, k.Task)
	case *wire.Frame_Sums:
		n.hearSums(k.Sums)
	case *wire.Frame_Failure:
		n.hearFailure(k.Failure)
	}
	return nil
}

func (n *Node) hearTask(nb *neighbour, w *wire.Task) error {
	t := n.tasks[w.GetBlob()]
	if t == nil || t.err != nil {
		return nil
	}
	l := piece.Layout{Size: w.GetSize(), PieceSize: w.GetPieceSize()}
	if !t.known {
		t.setLayout(l)
		for id := range t.peers {
			if peer := n.neighbours[id]; peer != nil {
				peer.share(t.id)
			}
		}
		t.rewindow()
	} else if t.layout != l {
		t.superFailed = true
		t.notify()
		return nil
	}
	t.entry = w.GetEntry()
	nb.share(t.id)
	n.snapshotDue(t.id)
	for _, p := range w.GetPeers() {
		if p.GetId() == n.cfg.ID {
			continue
		}
		t.peers[p.GetId()] = p.GetAddress()
		n.meet(p.GetId(), p.GetAddress(), t.id)
	}
	return nil
}

func (n *Node) hearSums(d *wire.Sums) {
	t := n.tasks[d.GetBlob()]
	if t == nil || !t.known || t.err != nil {
		return
	}
	sums, width := d.GetSums(), t.chain.Width()
	for i := int(d.GetFirst()); len(sums) >= width && i < t.chain.Named(); i++ {
		if !t.prove(i, piece.Sum(sums[:width])) { // of other bytes than it had before
			t.superFailed = true
		}
		sums = sums[width:]
	}
	t.notify()
}

func (n *Node) hearFailure(f *wire.Failure) {
	t := n.tasks[f.GetBlob()]
	if t == nil || !t.filling() {
		return
	}
	n.log().WithField("blob", t.id).WithField("reason", f.GetMessage()).Info("the supernode cannot provide a blob")
	if f.GetCode() == oci.CodeDigestInvalid {
		t.fail(oci.Errorf(oci.SideUpstream, int(f.GetStatus()), oci.CodeDigestInvalid, "%s", f.GetMessage()))
		return
	}
	// Only the upstream itself may refuse a client.
	t.superFailed = true
	t.notify()
}
