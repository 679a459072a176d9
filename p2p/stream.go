package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/shoal-p2p/shoal/p2p/wire"
)

// stream is one end of a connection on which two neighbours speak. It begins as
// an HTTP/1.1 request that is upgraded (RFC 9110, section 7.8): what is said is
// small and frequent, and each layer on the way would cost more than it.
type stream struct {
	c io.ReadWriteCloser
	r *bufio.Reader
	w *bufio.Writer
}

const streamBuffer = 4 << 10

func newStream(c io.ReadWriteCloser, r io.Reader) *stream {
	return &stream{c: c, r: bufio.NewReaderSize(r, streamBuffer), w: bufio.NewWriterSize(c, streamBuffer)}
}

// Send says frames. It belongs to one goroutine.
func (s *stream) Send(m *wire.Frames) error {
	if _, err := protodelim.MarshalTo(s.w, m); err != nil {
		return err
	}
	return s.w.Flush()
}

// Receive waits for what the other side says. It belongs to one goroutine.
func (s *stream) Receive() (*wire.Frames, error) {
	m := &wire.Frames{}
	if err := (protodelim.UnmarshalOptions{MaxSize: wire.MaxMessage}).UnmarshalFrom(s.r, m); err != nil {
		return nil, err
	}
	return m, wire.Check(m)
}

// receiveHello waits for the first thing that is said.
func (s *stream) receiveHello() (*wire.Hello, error) {
	m, err := s.Receive()
	if err != nil {
		return nil, err
	}
	if len(m.GetFrames()) != 1 || m.GetFrames()[0].GetHello() == nil {
		return nil, errors.New("p2p: the stream does not open with hello")
	}
	return m.GetFrames()[0].GetHello(), nil
}

// openStream opens a stream to the node at addr.
func (n *Node) openStream(ctx context.Context, addr string) (*stream, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+wire.StreamPath, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", wire.Protocol)
	resp, err := n.streams.Do(req)
	if err != nil {
		return nil, err
	}
	c, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != wire.Protocol {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("p2p: %s answers %s: is it a node of the same version?", addr, resp.Status)
	}
	return newStream(c, c), nil
}

// acceptStream takes over the connection of a request for a stream.
func acceptStream(w http.ResponseWriter, r *http.Request) (*stream, error) {
	if r.Header.Get("Upgrade") != wire.Protocol {
		w.Header().Set("Upgrade", wire.Protocol)
		http.Error(w, "neighbours speak "+wire.Protocol+" here", http.StatusUpgradeRequired)
		return nil, fmt.Errorf("p2p: %s does not speak %s", r.RemoteAddr, wire.Protocol)
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "streams need HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, err
	}
	_ = c.SetDeadline(time.Time{}) // the server's own
	_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+wire.Protocol+"\r\n\r\n")
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return newStream(c, buffered), nil
}

func streamTransport() *http.Transport {
	return &http.Transport{
		DialContext:       (&net.Dialer{Timeout: helloTimeout}).DialContext,
		DisableKeepAlives: true,
	}
}

// closer ends a stream, once.
func (s *stream) closer() func() { return sync.OnceFunc(func() { _ = s.c.Close() }) }
