package p2p

import (
	"context"
	"net/http"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// Every byte is hashed once: a piece with the Sum of the one before, as it comes
// if that is known by then, else by the sink, which sees all in order.

// evidence is what speaks for the bytes of a piece.
type evidence int

const (
	checked evidence = iota // they give the Sum that was named
	ours                    // this node has read them from the upstream
	theirs                  // nothing: they came from a neighbour
)

// prove records the Sum of a piece that the seed named, or that follows from
// pieces which are not in doubt. It reports false if another was known. Callers
// hold n.mu.
func (t *task) prove(i int, s piece.Sum) bool {
	if t.sums[i] != "" {
		return t.sums[i] == s
	}
	t.sums[i] = s
	for k := i; k <= i+1 && k < len(t.sums); k++ {
		if t.sums[k] != "" && (k == 0 || t.sums[k-1] != "") {
			t.proven.Set(uint(k))
		}
	}
	t.settle(i)
	return true
}

// link starts to hash piece i, nil if the Sum before is not known. Callers hold
// n.mu.
func (t *task) link(i int) *piece.Link {
	switch {
	case i == 0:
		return t.chain.Begin(0, "")
	case t.sums[i-1] != "":
		return t.chain.Begin(i, t.sums[i-1])
	}
	return nil
}

// expect returns what to hash piece i with and what must come of it, if the Sums
// were named or the sink has seen the piece before. Callers hold n.mu.
func (t *task) expect(i int) (l *piece.Link, want piece.Sum) {
	switch {
	case t.proven.Test(uint(i)):
		return t.link(i), t.sums[i]
	case i >= len(t.seen):
		return nil, ""
	case i == 0:
		return t.chain.Begin(0, ""), t.seen[0]
	}
	return t.chain.Begin(i, t.seen[i-1]), t.seen[i]
}

// next is what the sink checks piece i with: a hash that continues what it has
// seen, or nil if the piece has been checked and follows from that.
func (t *task) next(i int) (l *piece.Link, follows bool) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	before := piece.Sum("")
	if i > 0 {
		before = t.seen[i-1]
	}
	if t.held.Test(uint(i)) && !t.unchecked.Test(uint(i)) {
		return nil, i == 0 || before == t.sums[i-1]
	}
	return t.chain.Begin(i, before), true
}

// saw takes note that the sink has seen piece i, whose Sum is s; "" if it had been
// checked before. It reports false if the bytes are wrong. Callers hold n.mu.
func (t *task) saw(i int, s piece.Sum) bool {
	if s == "" {
		s = t.sums[i]
	}
	if t.sums[i] != "" && t.sums[i] != s {
		return false
	}
	t.seen = append(t.seen, s)
	if !t.unchecked.Test(uint(i)) {
		return true
	}
	t.unchecked.Clear(uint(i))
	first, some := t.doubtful.NextSet(0)
	if (!t.resumed || t.n.cfg.Seed) && (!some || int(first) > i) {
		t.prove(i, s)
		t.offer(i)
		t.n.sumsDue(t)
	}
	t.settle(i)
	return true
}

// named reports whether the digest is a client's word on a file. Callers hold n.mu.
func (t *task) named() bool {
	return len(t.sources) > 0 && t.sources[0].Origin().File != ""
}

// wrong ends a fill whose bytes are not the blob's, or starts it again where they
// need not be the upstream's. It reports whether to go on.
func (t *task) wrong(ctx context.Context) bool {
	t.n.mu.Lock()
	doubts, named := t.doubtful.Any(), t.named()
	t.n.mu.Unlock()
	if doubts {
		err := t.refill(ctx)
		if err != nil {
			t.failWith(err)
		}
		return err == nil
	}
	t.n.cfg.Metrics.PiecesRejected.WithLabelValues("blob_digest").Add(float64(t.layout.Count()))
	err := oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
		"the upstream sent wrong bytes for blob %s: they have another digest; nothing was kept, check the upstream registry's storage", t.dgst)
	switch {
	case piece.IsFile(t.dgst):
		err = oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
			"%s: its bytes at the source are others now than when the swarm read them; nothing was kept, try again", t.dgst)
	case named:
		err = oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
			"the file has another digest at its source than %s, which was asked for; nothing was kept", t.dgst)
	case t.resumed: // clients or others may have them already
		err = oci.Errorf(oci.SideStore, http.StatusBadGateway, oci.CodeDigestInvalid,
			"the store was left with wrong bytes for blob %s, or the upstream sent them; nothing was kept, try again", t.dgst)
	}
	log.G(ctx).Error(err.Message)
	if e := t.ingest.Truncate(); e != nil {
		log.G(ctx).WithError(e).WithField("blob", t.id).Warn("the store could not discard wrong bytes")
	}
	t.failWith(err)
	return false
}
