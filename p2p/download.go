package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// maxStrikes transfers that fail in a row cost a neighbour its place.
	maxStrikes = 3
	// chunk is how much is read between looks at progress.
	chunk = 256 << 10
)

var (
	errWrongPiece = errors.New("the piece does not match its digest")
	errUnproven   = errors.New("the supernode did not name the piece's digest")
)

// download fetches a piece that was offered and accepted.
func (n *Node) download(nb *neighbour, t *task, i int, b *buffer) {
	d := &download{n: n, nb: nb, t: t, i: i, buf: b}
	length := int64(len(b.data))
	n.mu.Lock()
	d.link = t.link(i)
	d.stall = n.stallAfter(t.layout.PieceSize)
	d.rate = n.pace.down.best
	d.slots = n.pace.slots
	d.tail = n.pace.tail(&n.pace.down, length)
	d.slot = n.holdSlot(n.pace.late(&n.pace.down, length), func() {
		n.picker.EndDownload()
		n.slotsChanged()
	})
	n.mu.Unlock()
	err := d.fetch(t.ctx)
	d.slot.end()
	if err == nil {
		err = d.verify(t.ctx)
	}
	var c claim
	if errors.Is(err, errUnproven) {
		c = claim{nb.id, sha256.Sum256(b.data)}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.picker.Landed(t.id, i)
	if errors.Is(err, errUnproven) && t.sharing() {
		t.doubt(i, b, c)
		t.feed()
		return
	}
	if err == nil {
		nb.strikes = 0
		if !nb.seed {
			t.feed()
		}
		t.accept(i, b, checked)
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
	entry := n.log().WithError(err).WithField("blob", t.id).WithField("piece", i).WithField("node", nb.id).WithField("address", nb.addr)
	if nb.strikes < maxStrikes {
		entry.Debug("a piece did not come")
		return
	}
	entry.Warn("dropping a neighbour that sends bad pieces, or none")
	if nb.seed { // nobody can stand in for it
		nb.stop()
		return
	}
	n.ban(nb.id)
}

type download struct {
	n     *Node
	nb    *neighbour
	t     *task
	i     int
	buf   *buffer
	link  *piece.Link // hashes it on the way; nil if the Sum before is not known yet
	slot  *slot
	stall time.Duration // how long nothing may come
	rate  float64       // of the link, in bytes per second
	slots int           // transfers that share it
	tail  int64         // bytes before the end at which the slot is given back
}

// fetch reads the piece into the buffer and hashes it on the way. It gives up
// when nothing comes for a while.
func (d *download) fetch(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(d.stall, func() { cancel(fmt.Errorf("nothing came for %v", d.stall)) })
	defer watchdog.Stop()

	var conn net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		conn = i.Conn
		boundWindow(conn, d.rate, d.slots)
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.nb.addr+wire.PiecePath(d.t.id, d.i), nil)
	if err != nil {
		return err
	}
	req.Header.Set(wire.NodeHeader, d.n.cfg.ID)
	resp, err := d.n.pieces.Do(req)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(d.buf.data)) {
		return fmt.Errorf("the neighbour answers %s with %d bytes", resp.Status, resp.ContentLength)
	}
	source := metrics.SourcePeer
	if d.nb.seed {
		source = metrics.SourceSupernode
	}
	defer wakeAfter(conn, 1)
	for rest := d.buf.data; len(rest) > 0; {
		next := len(rest)
		if int64(next) > d.tail {
			next -= int(d.tail)
		}
		wakeAfter(conn, min(next, wakeSize(d.rate, d.slots)))
		got, err := resp.Body.Read(rest[:min(len(rest), chunk)])
		if got > 0 {
			watchdog.Reset(d.stall)
			d.n.count(source, got)
			d.t.bytes.add(source, int64(got))
			if d.link != nil {
				_, _ = d.link.Write(rest[:got])
			}
			if rest = rest[got:]; int64(len(rest)) <= d.tail {
				d.slot.release() // nearly done: the next one can come
			}
			if err := d.n.downloads.wait(ctx, got); err != nil {
				return err
			}
		}
		if err != nil && len(rest) > 0 {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}

// verify compares the piece with the Sum that the seed named. That may be a little
// behind the piece.
func (d *download) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errUnproven)
	defer cancel()
	t := d.t
	err := t.wait(ctx, func() bool { return t.err != nil || t.proven.Test(uint(d.i)) || t.sharing() })
	if err != nil {
		return err
	}
	d.n.mu.Lock()
	failed, late := t.err, d.link == nil
	l, want := t.expect(d.i)
	d.n.mu.Unlock()
	switch {
	case failed != nil:
		return failed
	case l == nil:
		return errUnproven
	case late:
		d.link = l
		_, _ = l.Write(d.buf.data)
	}
	if d.link.Sum() != want {
		return errWrongPiece
	}
	return nil
}
