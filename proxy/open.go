package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/proxy/ca"
	"github.com/shoal-p2p/shoal/resolver"
)

// Limits on what a client may do with a connection that may be opened.
const (
	// silence is how long it may say nothing before it is tunnelled: in some
	// protocols the server speaks first.
	silence = time.Second
	// helloTimeout is how long its first words may take, maxHello how long they
	// may be.
	helloTimeout = 10 * time.Second
	maxHello     = 64 << 10

	headerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 1 << 20
)

// opener answers TLS in the place of origins.
type opener struct {
	patterns []resolver.Pattern
	issuer   *ca.Issuer
	server   *http.Server
	queue    *queue
}

func newOpener(cfg Intercept, handler http.Handler) (*opener, error) {
	issuer, err := ca.Load(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("proxy: proxy.hijack_https: %w", err)
	}
	o := &opener{patterns: cfg.Hosts, issuer: issuer, queue: newQueue()}
	o.server = &http.Server{
		Handler: handler,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return h.Conn.(*opened).cert, nil },
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, targetKey{}, c.(*tls.Conn).NetConn().(*opened).to)
		},
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	return o, nil
}

// targetKey is where the context of an opened connection has its target.
type targetKey struct{}

func (o *opener) matches(to target) bool {
	at := to.String()
	return slices.ContainsFunc(o.patterns, func(p resolver.Pattern) bool { return p.Host.MatchString(at) })
}

// start serves what is opened, until close. The channel is closed when it has
// ended.
func (o *opener) start(ctx context.Context) <-chan struct{} {
	logger := log.G(ctx)
	o.server.BaseContext = func(net.Listener) context.Context { return log.WithLogger(context.Background(), logger) }
	o.server.ErrorLog = stdlog.New(complaints{logger}, "", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = o.server.ServeTLS(o.queue, "", "") // ends by Shutdown or Close alone
	}()
	return done
}

func (o *opener) drain(ctx context.Context) error { return o.server.Shutdown(ctx) }

// close ends all that is opened.
func (o *opener) close() {
	_ = o.server.Close()
	_ = o.queue.Close()
	o.queue.given.Wait()
}

// complaints puts what package http complains of into our log: most of it is of
// clients that do not trust the CA.
type complaints struct{ log *log.Entry }

func (c complaints) Write(line []byte) (int, error) {
	c.log.WithField("side", "client").Warn("a connection that was opened failed: ", strings.TrimSpace(string(line)))
	return len(line), nil
}

// open answers a CONNECT and opens what follows, or tunnels it.
func (p *Proxy) open(w http.ResponseWriter, r *http.Request, to target) {
	client, sent, err := hijack(w)
	if err != nil {
		log.G(r.Context()).WithError(err).Debug("a client left")
		return
	}
	leave, ok := p.sessions.enter(&session{cut: func() { _ = client.Close() }})
	if !ok {
		_ = client.Close()
		return
	}
	defer leave()
	first := &recorder{Conn: client, unread: sent}
	if hello := first.hello(r.Context()); hello != nil && speaksHTTP(hello, to) {
		cert, err := p.opener.issuer.Certificate(to.host)
		if err == nil {
			if !p.opener.queue.give(&opened{Conn: client, said: first.said.Bytes(), to: to, cert: cert}) {
				_ = client.Close()
			}
			return
		}
		log.G(r.Context()).WithError(err).WithField("host", to.host).Warn("a connection is tunnelled instead of opened")
	}
	origin, err := p.dial(r, to)
	if err != nil {
		log.G(r.Context()).WithError(err).WithField("host", to.host).Debug("a connection could not be tunnelled")
		_ = client.Close()
		return
	}
	p.tunnel(client, origin, first.said.Bytes())
}

// speaksHTTP reports whether a client that greets so wants HTTP of the host of
// its CONNECT, and of no other.
func speaksHTTP(h *tls.ClientHelloInfo, to target) bool {
	if name := strings.ToLower(strings.TrimSuffix(h.ServerName, ".")); name != "" && name != to.host {
		return false
	}
	return len(h.SupportedProtos) == 0 || slices.ContainsFunc(h.SupportedProtos, func(proto string) bool {
		return proto == "h2" || proto == "http/1.1"
	})
}

// serveOpened answers a request in an opened connection. It leads to the host of
// the connection, so it must be for that: 421 sends a client that shares
// connections among hosts to one of its own.
func (p *Proxy) serveOpened(w http.ResponseWriter, r *http.Request) {
	to, _ := r.Context().Value(targetKey{}).(target)
	u := *r.URL
	u.Scheme, u.Host = "https", r.Host
	named, err := parseURL(&u)
	switch {
	case r.Method == http.MethodConnect:
		err = refusef(http.StatusMethodNotAllowed, "client: a tunnel leads to one host")
	case err == nil && withPort("https", named.Host) != to.String():
		err = refusef(http.StatusMisdirectedRequest, "client: this connection is to %s, not to %.80q", to, r.Host)
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.serve(w, r, named, r.Host)
}

// recorder keeps what a client says.
type recorder struct {
	net.Conn
	unread []byte // has been read from Conn already
	said   bytes.Buffer
}

var errHello = errors.New("the hello has been read")

// hello reads the beginning of a connection, and returns the client's hello if it
// speaks TLS.
func (r *recorder) hello(ctx context.Context) (hello *tls.ClientHelloInfo) {
	defer func() {
		r.said.Write(r.unread)
		_ = r.SetReadDeadline(time.Time{})
	}()
	_ = r.SetReadDeadline(time.Now().Add(silence))
	if b, err := r.peek(); err != nil || b != 0x16 { // a TLS record of a handshake
		return nil
	}
	_ = r.SetReadDeadline(time.Now().Add(helloTimeout))
	_ = tls.Server(r, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, errHello
	}}).HandshakeContext(ctx)
	return hello
}

// peek waits for the first byte.
func (r *recorder) peek() (byte, error) {
	if len(r.unread) == 0 {
		b := make([]byte, 4096)
		n, err := r.Conn.Read(b)
		if n == 0 {
			return 0, errors.Join(err, io.ErrNoProgress)
		}
		r.unread = b[:n]
	}
	return r.unread[0], nil
}

func (r *recorder) Read(b []byte) (int, error) {
	if r.said.Len() >= maxHello {
		return 0, io.ErrShortBuffer
	}
	if len(r.unread) > 0 {
		n := copy(b, r.unread)
		r.unread = r.unread[n:]
		r.said.Write(b[:n])
		return n, nil
	}
	n, err := r.Conn.Read(b)
	r.said.Write(b[:n])
	return n, err
}

// Write keeps the alert that ends the reading of a hello from the client.
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// Close leaves the connection open, for what comes after the hello.
func (r *recorder) Close() error { return nil }

// opened is a connection whose TLS the proxy answers.
type opened struct {
	net.Conn
	said []byte // has been read from Conn already
	to   target
	cert *tls.Certificate

	closing sync.Once
	left    func()
}

func (o *opened) Read(b []byte) (int, error) {
	if len(o.said) > 0 {
		n := copy(b, o.said)
		o.said = o.said[n:]
		return n, nil
	}
	return o.Conn.Read(b)
}

func (o *opened) Close() error {
	defer o.closing.Do(o.left)
	return o.Conn.Close()
}

// queue is the listener of connections that were opened.
type queue struct {
	conns chan *opened
	done  chan struct{}
	once  sync.Once

	mu    sync.Mutex     // between the last give and the wait for all that were
	given sync.WaitGroup // until they are closed
}

func newQueue() *queue { return &queue{conns: make(chan *opened), done: make(chan struct{})} }

// give hands a connection to the server. It returns false once that has ended.
func (q *queue) give(o *opened) bool {
	q.mu.Lock()
	select {
	case <-q.done:
		q.mu.Unlock()
		return false
	default:
	}
	q.given.Add(1)
	q.mu.Unlock()
	o.left = q.given.Done
	select {
	case q.conns <- o:
		return true
	case <-q.done:
		q.given.Done()
		return false
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		close(q.done)
	})
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

var _ net.Listener = (*queue)(nil)
