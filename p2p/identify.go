package p2p

import (
	"context"
	"errors"
	"net/http"
)

// Identify returns the ID of the node that answers at addr, a peer port or a
// supernode. It takes part in nothing.
func Identify(ctx context.Context, addr string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	n := &Node{streams: &http.Client{Transport: streamTransport()}}
	s, err := n.openStream(ctx, addr)
	if err != nil {
		return "", err
	}
	stop := s.closer()
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	h, err := s.receiveHello()
	if err != nil {
		return "", errors.Join(err, ctx.Err())
	}
	return h.GetId(), nil
}
