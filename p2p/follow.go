package p2p

import (
	"context"

	"github.com/containerd/log"
)

// follow keeps the stream to the supernode.
func (n *Node) follow(ctx context.Context) {
	for try := 1; ; try++ {
		err := n.dial(ctx, n.cfg.Supernode, func(nb *neighbour) {
			try = 0
			n.adoptSupernode(ctx, nb)
		}, func() {})
		if ctx.Err() != nil {
			return
		}
		log.G(ctx).WithError(err).WithField("address", n.cfg.Supernode).Warn("no supernode; blobs come from peers and the upstream until it is back")
		if pause(ctx, backoff(max(1, try))) != nil {
			return
		}
	}
}

// adoptSupernode makes a neighbour the node's supernode and tells it all.
func (n *Node) adoptSupernode(ctx context.Context, nb *neighbour) {
	n.mu.Lock()
	n.super = nb
	for _, t := range n.tasks {
		if t.filling() {
			n.join(t)
		}
		t.rewindow()
		t.notify()
	}
	n.announceAnew()
	n.mu.Unlock()
	log.G(ctx).WithField("address", nb.addr).Info("connected to the supernode")
}
