package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// established is what answers a CONNECT.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// serveConnect opens or tunnels a CONNECT. A tunnel leads to its origin before
// the client is answered, so that it can be told why it does not.
func (p *Proxy) serveConnect(w http.ResponseWriter, r *http.Request) {
	to, err := parseConnect(r.RequestURI)
	if err == nil && (r.ContentLength != 0 || len(r.TransferEncoding) > 0) { // RFC 9110, section 9.3.6
		err = refusef(http.StatusBadRequest, "client: CONNECT has no content")
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	if p.opener != nil && p.opener.matches(to) {
		p.open(w, r, to)
		return
	}
	origin, err := p.dial(r, to)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	client, sent, err := hijack(w)
	if err != nil {
		_ = origin.Close()
		log.G(r.Context()).WithError(err).Warn("the proxy needs a server that speaks HTTP/1.1")
		return
	}
	p.tunnel(client, origin, sent)
}

// dial connects to an origin. A client that has said all that it wants to say
// looks like one that left, so only the end of the proxy breaks it off.
func (p *Proxy) dial(r *http.Request, to target) (net.Conn, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	leave, ok := p.sessions.enter(&session{cut: cancel})
	if !ok {
		return nil, errEnding
	}
	defer leave()
	return p.reach(ctx, to)
}

// hijack takes the connection of a CONNECT, and says that it is established. sent
// is what the client has sent since.
func hijack(w http.ResponseWriter) (client net.Conn, sent []byte, err error) {
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(client, established); err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	sent, err = rw.Reader.Peek(rw.Reader.Buffered())
	return client, sent, err
}

// tunnel passes bytes between two connections until both sides have ended, and
// closes them. sent goes to the origin first.
func (p *Proxy) tunnel(client, origin net.Conn, sent []byte) {
	t := &tunnel{client: client, origin: origin}
	defer t.close()
	one := &session{cut: t.close}
	if tcp, ok := client.(*net.TCPConn); ok {
		one.moved = func() uint64 { return t.moved(tcp) }
	}
	leave, ok := p.sessions.enter(one)
	if !ok {
		return
	}
	defer leave()
	var both sync.WaitGroup
	both.Go(func() { t.pass(client, origin, nil) })
	t.pass(origin, client, sent)
	both.Wait()
}

type tunnel struct {
	client, origin net.Conn
	ended          atomic.Int32 // directions
}

func (t *tunnel) close() {
	_ = t.client.Close()
	_ = t.origin.Close()
}

// pass copies one way, and hands on the end of it. io.Copy between two TCP
// connections is done by the kernel.
func (t *tunnel) pass(to, from net.Conn, first []byte) {
	if len(first) > 0 {
		if _, err := to.Write(first); err != nil {
			t.close()
			return
		}
	}
	if _, err := io.Copy(to, from); err != nil {
		t.close()
		return
	}
	if t.ended.Add(1) == 2 { // who waits for both closes them
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		t.close()
	}
}

// moved is how many bytes the kernel has seen pass to and from the client: what
// it copies by itself, nobody else counts.
func (t *tunnel) moved(client *net.TCPConn) (bytes uint64) {
	raw, err := client.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			bytes = info.Bytes_received + info.Bytes_acked
		}
	})
	return bytes
}

// counted counts the bytes that pass.
type counted struct {
	io.ReadWriteCloser
	moved atomic.Uint64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	c.moved.Add(uint64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(b)
	c.moved.Add(uint64(n))
	return n, err
}

// CloseWrite hands on the end of one direction.
func (c *counted) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
