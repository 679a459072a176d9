package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// helloTimeout bounds dialling and the first frame.
	helloTimeout = 3 * time.Second
	// banFor is how long a neighbour that was dropped stays away.
	banFor = time.Minute
)

func (n *Node) hello() *wire.Frames {
	return &wire.Frames{Frames: []*wire.Frame{{Kind: &wire.Frame_Hello{Hello: &wire.Hello{
		Version: wire.Version, Id: n.cfg.ID, Address: n.cfg.Advertise, Labels: n.cfg.Labels, Seed: n.cfg.Seed,
	}}}}}
}

func (n *Node) newNeighbour(h *wire.Hello, addr, dialer string, stop func()) *neighbour {
	return &neighbour{
		n: n, id: h.GetId(), addr: addr, seed: h.GetSeed(), dialer: dialer, labels: h.GetLabels(),
		stop: sync.OnceFunc(stop), wake: make(chan struct{}, 1),
		shares: map[string]bool{}, due: map[string]bool{}, told: map[string]int{}, heard: time.Now(),
	}
}

// register makes a neighbour known. Of two streams between the same nodes, the
// one opened by the lower ID stays.
func (n *Node) register(nb *neighbour) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.stopped:
		return errors.New("p2p: the node is stopping")
	case nb.id == n.cfg.ID:
		return errors.New("p2p: a node was sent to itself")
	case time.Now().Before(n.banned[nb.id]):
		return fmt.Errorf("p2p: node %s is banned for a while", nb.id)
	}
	if old := n.neighbours[nb.id]; old != nil {
		if old.dialer == min(nb.id, n.cfg.ID) && nb.dialer != old.dialer {
			return fmt.Errorf("p2p: node %s is connected already", nb.id)
		}
		n.dropNeighbour(old)
		old.stop()
	}
	n.neighbours[nb.id] = nb
	n.picker.AddNeighbour(nb.id)
	for _, t := range n.tasks {
		if _, ok := t.peers[nb.id]; ok {
			nb.share(t.id)
		}
	}
	return nil
}

func (n *Node) unregister(nb *neighbour) {
	nb.stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.neighbours[nb.id] == nb {
		n.dropNeighbour(nb)
	}
}

// dropNeighbour forgets a neighbour and what was offered to it. Callers hold
// n.mu.
func (n *Node) dropNeighbour(nb *neighbour) {
	delete(n.neighbours, nb.id)
	n.picker.RemoveNeighbour(nb.id)
	n.forgetPeer(nb.id)
	for o := range n.offered {
		if o.Node == nb.id && n.closeOffer(o) {
			n.picker.EndUpload(o)
		}
	}
	for _, t := range n.tasks {
		delete(t.awaiting, nb)
		t.replaceEntry(nb)
	}
	if n.cfg.Tracker != nil {
		n.cfg.Tracker.Gone(nb.id)
	}
	if nb == n.super {
		n.super, n.superLost = nil, time.Now()
		for _, t := range n.tasks {
			t.rewindow()
			t.notify()
		}
	}
	n.pump()
}

// ban drops a node and keeps it away for a while. Callers hold n.mu.
func (n *Node) ban(id string) {
	n.banned[id] = time.Now().Add(banFor)
	if nb := n.neighbours[id]; nb != nil {
		nb.stop()
	}
}

// meet makes a peer a neighbour for a blob. Callers hold n.mu.
func (n *Node) meet(id, addr, blob string) {
	if nb := n.neighbours[id]; nb != nil {
		nb.share(blob)
		return
	}
	if n.dialling[id] || n.stopped || time.Now().Before(n.banned[id]) {
		return
	}
	n.dialling[id] = true
	n.spawn(func() {
		err := n.dial(n.life(), addr, nil, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.dialling, id)
			if n.neighbours[id] == nil { // it cannot be reached
				n.forgetPeer(id)
			}
		})
		if n.ctx.Err() == nil {
			n.log().WithError(err).WithField("node", id).WithField("address", addr).Debug("the stream to a peer ended")
		}
	})
}

// forgetPeer takes a peer out of the swarms that the supernode introduced it
// for. Callers hold n.mu.
func (n *Node) forgetPeer(id string) {
	for _, t := range n.tasks {
		if _, ok := t.peers[id]; ok {
			delete(t.peers, id)
			n.snapshotDue(t.id)
		}
	}
}

// dial opens a stream and runs it to its end. dialled is called once the
// neighbour is known, or is not going to be; registered only in the first case.
func (n *Node) dial(ctx context.Context, addr string, registered func(*neighbour), dialled func()) error {
	dialled = sync.OnceFunc(dialled)
	defer dialled()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patient := time.AfterFunc(helloTimeout, func() { cancel(fmt.Errorf("%s did not say hello within %v", addr, helloTimeout)) })
	defer patient.Stop()

	s, err := n.openStream(ctx, addr)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	stop := s.closer()
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	if err := s.Send(n.hello()); err != nil {
		return err
	}
	h, err := s.receiveHello()
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	patient.Stop()
	nb := n.newNeighbour(h, addr, n.cfg.ID, func() { cancel(errStopped) })
	if err := n.register(nb); err != nil {
		return err
	}
	defer n.unregister(nb)
	if registered != nil {
		registered(nb)
	}
	dialled()
	return nb.converse(ctx, s)
}

// forgetOffers ends what was offered of a blob. Callers hold n.mu.
func (n *Node) forgetOffers(blob string) {
	for o := range n.offered {
		if o.Blob == blob && n.closeOffer(o) {
			n.picker.EndUpload(o)
		}
	}
}
