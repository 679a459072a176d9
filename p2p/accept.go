package p2p

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/shoal-p2p/shoal/p2p/wire"
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
