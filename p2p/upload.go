package p2p

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// offerTimeout is how long an offered piece is held for a neighbour that
	// does not answer.
	offerTimeout = 500 * time.Millisecond
	// uploadStall is how long a neighbour may take for a portion of a piece:
	// it may be slow, and share its link between many.
	uploadStall = 5 * time.Second
	portion     = 64 << 10
)

// pump makes all offers that can be made now. Callers hold n.mu.
func (n *Node) pump() {
	for {
		o, ok := n.picker.NextOffer()
		if !ok {
			return
		}
		at := time.Now()
		n.offered[o] = &offered{at: at, timer: time.AfterFunc(offerTimeout, func() { n.offerTimedOut(o, at) })}
		n.neighbours[o.Node].offer(&wire.Frame{Kind: &wire.Frame_Offer{Offer: &wire.Offer{Blob: o.Blob, Piece: uint32(o.Piece)}}})
	}
}

// offered is a piece held out to a neighbour that has not answered.
type offered struct {
	at    time.Time
	timer *time.Timer
}

// closeOffer ends the wait for an answer. It reports whether there was one to
// wait for. Callers hold n.mu.
func (n *Node) closeOffer(o picker.Offer) bool {
	p := n.offered[o]
	if p == nil {
		return false
	}
	p.timer.Stop()
	delete(n.offered, o)
	return true
}

func (n *Node) offerTimedOut(o picker.Offer, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.offered[o]; p == nil || !p.at.Equal(at) {
		return
	}
	delete(n.offered, o)
	n.picker.Lost(o, picker.Busy)
	n.picker.EndUpload(o)
	n.pump()
}

// servePiece answers a neighbour that takes an offer.
func (n *Node) servePiece(w http.ResponseWriter, r *http.Request) {
	i, err := strconv.Atoi(r.PathValue("index"))
	if err != nil || i < 0 || i >= piece.MaxPieces {
		http.Error(w, "the piece is not a number of a piece", http.StatusBadRequest)
		return
	}
	o := picker.Offer{Node: r.Header.Get(wire.NodeHeader), Blob: r.PathValue("blob"), Piece: i}
	n.mu.Lock()
	t, p := n.tasks[o.Blob], n.offered[o]
	if p == nil || t == nil || !t.known || !t.held.Test(uint(i)) {
		n.mu.Unlock()
		http.Error(w, "the piece is not on offer to this node", http.StatusConflict)
		return
	}
	n.closeOffer(o)
	n.observeTrip(time.Since(p.at))
	length := t.layout.Len(i)
	u := &upload{n: n, t: t, i: i, length: length, tail: n.pace.tail(&n.pace.up, length)}
	switch b := t.bufs[i]; {
	case t.backed(i):
		u.from = t.backing()
	case b != nil:
		u.buf = b.hold()
	default: // lost by who stores it
		t.lose(i)
		n.picker.Lost(o, picker.Busy)
		n.picker.EndUpload(o)
		n.mu.Unlock()
		http.Error(w, "the piece is no longer here", http.StatusConflict)
		return
	}
	t.used = time.Now()
	u.slot = n.holdSlot(n.pace.late(&n.pace.up, length), func() {
		if u.slot.late {
			n.picker.Late(o)
		}
		n.picker.EndUpload(o)
		n.pump()
	})
	holdUnsent(r.Context(), n.pace.up.best, n.pace.slots)
	n.mu.Unlock()

	err = u.send(r.Context(), w)
	u.slot.end()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.picker.Lost(o, picker.Busy)
		return
	}
	n.picker.Delivered(o)
}

// upload is one piece on its way to a neighbour.
type upload struct {
	n            *Node
	t            *task
	i            int
	length, tail int64
	buf          *buffer
	from         readerAt
	slot         *slot
}

func (u *upload) send(ctx context.Context, w http.ResponseWriter) error {
	var file *os.File
	if u.buf != nil {
		defer u.buf.release()
	} else if file = reopen(u.from); file != nil {
		defer file.Close()
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(u.length, 10))
	control := http.NewResponseController(w)
	for off := int64(0); off < u.length; {
		size := min(portion, u.length-off)
		if rest := u.length - u.tail - off; rest > 0 {
			size = min(size, rest)
		} else {
			u.slot.release() // nearly done: the next one can be offered
		}
		if err := u.n.uploads.wait(ctx, int(size)); err != nil {
			return err
		}
		_ = control.SetWriteDeadline(time.Now().Add(uploadStall))
		sent, err := u.sendChunk(w, file, off, size)
		u.n.countUpload(sent)
		if err != nil {
			return err
		}
		off += size
	}
	return nil
}

func (u *upload) sendChunk(w io.Writer, file *os.File, off, size int64) (int64, error) {
	if u.buf != nil {
		n, err := w.Write(u.buf.data[off : off+size])
		return int64(n), err
	}
	return copyAt(w, u.from, file, u.t.layout.Offset(u.i)+off, size)
}
