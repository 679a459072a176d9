package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/p2p/wire"
	"github.com/shoal-p2p/shoal/p2p/wire/wireconnect"
)

const (
	// helloTimeout bounds dialling and the first frame.
	helloTimeout = 3 * time.Second
	// banFor is how long a neighbour that was dropped stays away.
	banFor = time.Minute
)

// controllerKey carries the http.ResponseController of a stream, by which a
// node ends it.
type controllerKey struct{}

type remoteKey struct{}

// withController makes the streams of h ones that the node can end.
func withController(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), controllerKey{}, http.NewResponseController(w))
		ctx = context.WithValue(ctx, remoteKey{}, r.RemoteAddr)
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// exchange serves the streams that others open.
type exchange struct{ n *Node }

func (e exchange) Exchange(ctx context.Context, s *connect.BidiStream[wire.Frame, wire.Frame]) error {
	control, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	remote, _ := ctx.Value(remoteKey{}).(string)
	if control == nil {
		return connect.NewError(connect.CodeInternal, errors.New("p2p: the stream cannot be ended"))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	interrupt := &interrupt{control: control}
	defer interrupt.end()
	stop := func() {
		cancel(errStopped)
		interrupt.now()
	}
	defer context.AfterFunc(e.n.ctx, stop)()
	if err := s.Send(e.n.hello()); err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Now().Add(helloTimeout))
	h, err := receiveHello(s)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	_ = control.SetReadDeadline(time.Time{})
	nb := e.n.newNeighbour(h, fillHost(h.GetAddress(), remote), h.GetId(), stop)
	if err := e.n.register(nb); err != nil {
		return connect.NewError(connect.CodeAlreadyExists, err)
	}
	defer e.n.unregister(nb)
	return nb.converse(ctx, s)
}

// interrupt ends the reads and writes of a stream. Its controller must not be
// used after the handler has returned.
type interrupt struct {
	mu      sync.Mutex
	control *http.ResponseController // nil once the handler has returned
}

func (i *interrupt) now() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.control != nil {
		past := time.Unix(1, 0)
		_ = i.control.SetReadDeadline(past)
		_ = i.control.SetWriteDeadline(past)
	}
}

func (i *interrupt) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.control = nil
}

func receiveHello(s stream) (*wire.Hello, error) {
	f, err := s.Receive()
	if err != nil {
		return nil, err
	}
	if err := wire.Check(f); err != nil {
		return nil, err
	}
	if f.GetHello() == nil {
		return nil, errors.New("p2p: the stream does not open with hello")
	}
	return f.GetHello(), nil
}

// fillHost completes an address whose host the node left to us.
func fillHost(addr, remote string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "" && !net.ParseIP(host).IsUnspecified() {
		return addr
	}
	from, _, err := net.SplitHostPort(remote)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(from, port)
}

func (n *Node) hello() *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Hello{Hello: &wire.Hello{
		Version: wire.Version, Id: n.cfg.ID, Address: n.cfg.Advertise, Labels: n.cfg.Labels, Seed: n.cfg.Seed,
	}}}
}

func (n *Node) newNeighbour(h *wire.Hello, addr, dialer string, stop func()) *neighbour {
	return &neighbour{
		n: n, id: h.GetId(), addr: addr, seed: h.GetSeed(), dialer: dialer, labels: h.GetLabels(),
		stop: sync.OnceFunc(stop), wake: make(chan struct{}, 1),
		snapshots: map[string]*snapshot{}, digests: map[string]int{}, heard: time.Now(),
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
			n.picker.EndUpload()
		}
	}
	for _, t := range n.tasks {
		delete(t.awaiting, nb)
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
		err := n.dial(n.ctx, addr, nil, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.dialling, id)
			if n.neighbours[id] == nil { // it cannot be reached
				n.forgetPeer(id)
			}
		})
		if n.ctx.Err() == nil {
			log.L.WithError(err).WithField("node", id).WithField("address", addr).Debug("the stream to a peer ended")
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

	client := wireconnect.NewSwarmClient(n.streams, "http://"+addr, connect.WithReadMaxBytes(wire.MaxFrame))
	s, err := client.Exchange(ctx)
	if err != nil {
		return err
	}
	// The transport sees the end of a context only between frames to send.
	defer context.AfterFunc(ctx, func() { _ = s.CloseRequest() })()
	defer func() {
		cancel(nil) // else closing waits for what the other side still sends
		_ = s.CloseRequest()
		_ = s.CloseResponse()
	}()
	if err := s.Send(n.hello()); err != nil {
		return err
	}
	h, err := receiveHello(s)
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
	n.announceStore(ctx, nb)
	n.mu.Unlock()
	log.G(ctx).WithField("address", nb.addr).Info("connected to the supernode")
}

// forgetOffers ends what was offered of a blob. Callers hold n.mu.
func (n *Node) forgetOffers(blob string) {
	for o := range n.offered {
		if o.Blob == blob && n.closeOffer(o) {
			n.picker.EndUpload()
		}
	}
}
