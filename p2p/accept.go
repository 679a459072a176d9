package p2p

import (
	"context"
	"net"
	"net/http"
	"time"
)

// serveStream serves a stream that another node opens.
func (n *Node) serveStream(w http.ResponseWriter, r *http.Request) {
	s, err := acceptStream(w, r)
	if err != nil {
		return
	}
	stop := s.closer()
	defer stop()
	defer context.AfterFunc(n.ctx, stop)()
	err = n.welcome(s, r.RemoteAddr, stop)
	if n.ctx.Err() == nil {
		n.log().WithError(err).WithField("address", r.RemoteAddr).Debug("the stream of a node ended")
	}
}

func (n *Node) welcome(s *stream, remote string, stop func()) error {
	patient := time.AfterFunc(helloTimeout, stop)
	defer patient.Stop()
	if err := s.Send(n.hello()); err != nil {
		return err
	}
	h, err := s.receiveHello()
	if err != nil {
		return err
	}
	patient.Stop()
	nb := n.newNeighbour(h, fillHost(h.GetAddress(), remote), h.GetId(), stop)
	if err := n.register(nb); err != nil {
		return err
	}
	defer n.unregister(nb)
	return nb.converse(n.life(), s)
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
