package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// offerTimeout is how long an offered piece is held for a neighbour that
	// does not answer.
	offerTimeout = 500 * time.Millisecond
	// uploadStall is how long a neighbour may take nothing of a piece.
	uploadStall = 2 * time.Second
	// maxStrikes transfers that fail in a row cost a neighbour its place.
	maxStrikes = 3
	// chunk is how much is read or sent between looks at progress.
	chunk = 256 << 10
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
	n.picker.EndUpload()
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
	u := &upload{n: n, t: t, i: i, length: t.layout.Len(i)}
	u.tail = n.tail(u.length)
	if b := t.bufs[i]; b != nil && !t.backed(i) {
		u.buf = b.hold()
	} else {
		u.from = t.backing()
	}
	t.used = time.Now()
	n.mu.Unlock()

	err = u.send(r.Context(), w)
	u.endSlot()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.picker.Lost(o, picker.Busy)
	}
}

// upload is one piece on its way to a neighbour.
type upload struct {
	n            *Node
	t            *task
	i            int
	length, tail int64
	buf          *buffer
	from         readerAt
	freed        bool
}

// endSlot gives the upload slot back, once.
func (u *upload) endSlot() {
	if u.freed {
		return
	}
	u.freed = true
	u.n.mu.Lock()
	defer u.n.mu.Unlock()
	u.n.picker.EndUpload()
	u.n.pump()
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
		size := min(chunk, u.length-off)
		if rest := u.length - u.tail - off; rest > 0 {
			size = min(size, rest)
		} else {
			u.endSlot() // nearly done: the next one can be offered
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

var (
	errWrongPiece = errors.New("the piece does not match its digest")
	errUnproven   = errors.New("the supernode did not name the piece's digest")
)

// download fetches a piece that was offered and accepted.
func (n *Node) download(nb *neighbour, t *task, i int, b *buffer) {
	d := &download{n: n, nb: nb, t: t, i: i, buf: b}
	sum, err := d.fetch(t.ctx)
	d.endSlot()
	if err == nil {
		err = d.verify(t.ctx, sum)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.picker.Landed(t.id, i)
	if err == nil {
		nb.strikes = 0
		t.accept(i, b)
		return
	}
	b.release()
	if t.ctx.Err() != nil {
		return
	}
	t.rewindow()
	t.notify()
	n.strike(nb, t, i, err)
}

// strike counts a failed transfer against a neighbour. Callers hold n.mu.
func (n *Node) strike(nb *neighbour, t *task, i int, err error) {
	reason := "transfer"
	switch {
	case errors.Is(err, errUnproven): // not the sender's fault
		n.cfg.Metrics.PiecesRejected.WithLabelValues("unproven").Inc()
		return
	case errors.Is(err, errWrongPiece):
		reason = "digest"
		if !nb.seed {
			nb.strikes = maxStrikes
		}
	}
	nb.strikes++
	n.cfg.Metrics.PiecesRejected.WithLabelValues(reason).Inc()
	entry := log.L.WithError(err).WithField("blob", t.id).WithField("piece", i).WithField("node", nb.id).WithField("address", nb.addr)
	if nb.strikes < maxStrikes {
		entry.Debug("a piece did not come")
		return
	}
	entry.Warn("dropping a neighbour that sends bad pieces, or none")
	n.banned[nb.id] = time.Now().Add(banFor)
	nb.stop()
}

type download struct {
	n     *Node
	nb    *neighbour
	t     *task
	i     int
	buf   *buffer
	freed bool
}

func (d *download) endSlot() {
	if d.freed {
		return
	}
	d.freed = true
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	d.n.picker.EndDownload()
	d.n.slotsChanged()
}

// fetch reads the piece into the buffer and hashes it on the way. It gives up
// when nothing comes for a while.
func (d *download) fetch(ctx context.Context) (sum piece.Digest, err error) {
	d.n.mu.Lock()
	stall := d.n.stallAfter(d.t.layout.PieceSize)
	tail := d.n.tail(int64(len(d.buf.data)))
	d.n.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer watchdog.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.nb.addr+wire.PiecePath(d.t.id, d.i), nil)
	if err != nil {
		return sum, err
	}
	req.Header.Set(wire.NodeHeader, d.n.cfg.ID)
	resp, err := d.n.pieces.Do(req)
	if err != nil {
		return sum, errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(d.buf.data)) {
		return sum, fmt.Errorf("the neighbour answers %s with %d bytes", resp.Status, resp.ContentLength)
	}
	source := metrics.SourcePeer
	if d.nb.seed {
		source = metrics.SourceSupernode
	}
	h := sha256.New()
	for rest := d.buf.data; len(rest) > 0; {
		got, err := resp.Body.Read(rest[:min(len(rest), chunk)])
		if got > 0 {
			watchdog.Reset(stall)
			d.n.count(source, got)
			h.Write(rest[:got])
			if rest = rest[got:]; int64(len(rest)) <= tail {
				d.endSlot() // nearly done: the next one can come
			}
			if err := d.n.downloads.wait(ctx, got); err != nil {
				return sum, err
			}
		}
		if err != nil && len(rest) > 0 {
			return sum, errors.Join(err, context.Cause(ctx))
		}
	}
	return piece.Digest(h.Sum(nil)), nil
}

// verify compares the piece with the digest that the seed named. The digest may
// be a little behind the piece.
func (d *download) verify(ctx context.Context, sum piece.Digest) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errUnproven)
	defer cancel()
	t := d.t
	if err := t.wait(ctx, func() bool { return t.err != nil || t.proven.Test(uint(d.i)) }); err != nil {
		return err
	}
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if sum != t.digests[d.i] {
		return errWrongPiece
	}
	return nil
}
