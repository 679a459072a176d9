package p2p

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// scanPause is how long a scan of the store waits at least after the one
	// before, and scanRest how many times as long as that one took.
	scanPause = 200 * time.Millisecond
	scanRest  = 20
	// announcedAtOnce bounds the blobs of one Announce, so that others get a
	// word in.
	announcedAtOnce = wire.MaxAnnounced / 4
)

// announceStore keeps the supernode informed of what the store holds: all of it
// to begin with, and what changes from then on.
func (n *Node) announceStore(ctx context.Context) {
	if w, ok := n.cfg.Store.(Watcher); ok {
		n.mu.Lock()
		n.spawn(func() { w.Watch(ctx, n.scanSoon) })
		n.mu.Unlock()
	}
	for {
		select {
		case <-n.scanDue:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		n.scanStore(ctx)
		if pause(ctx, max(scanPause, scanRest*time.Since(start))) != nil {
			return
		}
	}
}

func (n *Node) scanSoon() {
	select {
	case n.scanDue <- struct{}{}:
	default:
	}
}

// announceAnew tells a supernode that knows nothing of this node. Callers hold
// n.mu.
func (n *Node) announceAnew() {
	n.holdings = newHoldings()
	n.scanSoon()
}

// announce tells the supernode that the store has a blob. Callers hold n.mu.
func (n *Node) announce(dgst digest.Digest, size int64) {
	if n.super != nil && n.holdings.add(dgst) {
		n.super.announce([]*wire.Announce_Blob{{Digest: dgst.String(), Size: size}}, nil)
	}
}

func (nb *neighbour) announce(blobs []*wire.Announce_Blob, gone []string) {
	nb.say(&wire.Frame{Kind: &wire.Frame_Announce{Announce: &wire.Announce{Blobs: blobs, Gone: gone}}})
}

// scanStore compares the store with what the supernode was told of it.
func (n *Node) scanStore(ctx context.Context) {
	n.mu.Lock()
	super := n.super
	n.holdings.begin()
	n.mu.Unlock()
	if super == nil {
		return // the next one hears it all
	}
	found := map[digest.Digest]int64{}
	err := n.cfg.Store.Walk(ctx, func(dgst digest.Digest, size int64) error {
		found[dgst] = size
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		log.G(ctx).WithError(err).Warn("the store could not be listed; peers learn of its blobs one by one")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.super != super {
		return
	}
	fresh, gone := n.holdings.compare(found)
	if err != nil {
		gone = nil
	}
	gone = slices.DeleteFunc(gone, n.refilling)
	n.tell(super, fresh, gone, found)
}

// refilling reports whether a blob that the store has lost is being filled
// again. Callers hold n.mu.
func (n *Node) refilling(dgst digest.Digest) bool {
	t := n.tasks[dgst.String()]
	return t != nil && t.err == nil && !t.whole
}

// tell announces and withdraws blobs. Callers hold n.mu.
func (n *Node) tell(super *neighbour, fresh, gone []digest.Digest, sizes map[digest.Digest]int64) {
	for some := range slices.Chunk(gone, announcedAtOnce) {
		var digests []string
		for _, dgst := range some {
			n.holdings.forget(dgst)
			digests = append(digests, dgst.String())
			if t := n.tasks[dgst.String()]; t != nil && t.whole {
				t.stored, t.removed = false, true
			}
		}
		super.announce(nil, digests)
	}
	for some := range slices.Chunk(fresh, announcedAtOnce) {
		var blobs []*wire.Announce_Blob
		for _, dgst := range some {
			n.holdings.add(dgst)
			blobs = append(blobs, &wire.Announce_Blob{Digest: dgst.String(), Size: sizes[dgst]})
			if t := n.tasks[dgst.String()]; t != nil && t.whole {
				t.stored, t.removed = true, false
			}
		}
		super.announce(blobs, nil)
	}
}

// announced is how many blobs the supernode knows of. Callers hold n.mu.
func (n *Node) announced() int {
	switch {
	case n.cfg.Tracker != nil:
		return n.cfg.Tracker.AllHeld()
	case n.super == nil:
		return 0
	}
	return len(n.holdings.blobs)
}

// pin keeps the store from losing a blob that is served, as far as it can.
// Callers hold n.mu.
func (n *Node) pin(t *task) {
	p, ok := n.cfg.Store.(Pinner)
	if !ok || n.cfg.Seed {
		return
	}
	unpin := p.Pin(t.dgst)
	if !n.spawn(func() {
		<-t.ctx.Done()
		unpin()
	}) {
		unpin()
	}
}
