package proxy

import (
	"io"
	stdlog "log"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
)

// relay passes requests with an absolute URL on to their origin, and answers
// back.
type relay struct{ proxy *httputil.ReverseProxy }

func newRelay(origins http.RoundTripper) relay {
	return relay{&httputil.ReverseProxy{
		Transport:      origins,
		Rewrite:        rewrite,
		ModifyResponse: watchUpgrade,
		ErrorHandler:   relayFailed,
		ErrorLog:       stdlog.New(io.Discard, "", 0), // bodies cut short, by whichever side
		BufferPool:     &buffers,
		FlushInterval:  -1,
	}}
}

func (y relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{
		ResponseWriter: w, control: http.NewResponseController(w), version: r.ProtoMajor*10 + r.ProtoMinor,
		// Package http has dropped a length that stood beside the chunks. Who
		// counts by that takes the rest for another request: there is none
		// (RFC 9112, section 6.1).
		last: len(r.TransferEncoding) > 0,
	}
	defer func() { _ = a.control.SetWriteDeadline(time.Time{}) }()
	y.proxy.ServeHTTP(a, r)
}

// forwarding are the headers that a ReverseProxy takes away to put in its own.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite makes the request to the origin from the client's, of which package
// httputil has taken away what belongs to one hop, and too much.
func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	for _, name := range forwarding {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	r.Out.Trailer = r.In.Trailer // filled in once the body has been read
	if target, ok := r.In.Context().Value(pathKey{}).(string); ok {
		keepPath(r.Out, target)
	}
	if strings.EqualFold(r.Out.Header.Get("Upgrade"), "h2c") { // it would be another protocol of the same content, unseen by rules
		r.Out.Header.Del("Upgrade")
		r.Out.Header.Del("Connection")
	}
	r.Out.Close = bound(r.In.Header)
	if r.Out.Body != nil {
		r.Out.Body = &content{ReadCloser: r.Out.Body}
	}
}

// content is the body of a request, which remembers whether the client sent it
// whole.
type content struct {
	io.ReadCloser
	failed atomic.Bool
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		c.failed.Store(true)
	}
	return n, err
}

// pathKey is where a request's context has its target as the client wrote it.
type pathKey struct{}

// keepPath makes the target of a request what the client wrote, where package
// url would write it in another way.
func keepPath(r *http.Request, target string) {
	if target == "" && r.Method == http.MethodOptions { // RFC 9112, section 3.2.4
		target = "*"
	}
	path, _, _ := strings.Cut(target, "?")
	if path == "" || path == r.URL.EscapedPath() {
		return
	}
	if strings.HasPrefix(path, "//") { // would be read as a host
		path = "//" + r.URL.Host + path
	}
	r.URL.Opaque = path
}

// watchUpgrade counts what passes once another protocol is spoken, so that it is
// closed when idle, as any tunnel.
func watchUpgrade(r *http.Response) error {
	if r.StatusCode != http.StatusSwitchingProtocols {
		return nil
	}
	stream, ok := r.Body.(io.ReadWriteCloser)
	becomes, known := r.Request.Context().Value(tunnelKey{}).(func(func() uint64))
	if ok && known {
		c := &counted{ReadWriteCloser: stream}
		r.Body = c
		becomes(c.moved.Load)
	}
	return nil
}

// relayFailed answers where the origin did not.
func relayFailed(w http.ResponseWriter, r *http.Request, err error) {
	e := refusalOf(err, r.URL.Host)
	if c, ok := r.Body.(*content); ok && c.failed.Load() {
		e = refusef(http.StatusBadRequest, "client: the body of the request broke off, or is not what its head says")
	}
	log.G(r.Context()).WithField("origin", r.URL.Host).WithField("reason", e.text).Debug("a request could not be relayed")
	e.writeTo(w)
}

// answer is a response that gets no header which its origin did not send, and
// that its client must read.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	version int  // of HTTP that the client speaks: 10, 11, 20
	last    bool // of its connection
}

func (a *answer) WriteHeader(status int) {
	if status < 200 {
		if a.version > 10 { // RFC 9110, section 15.2
			a.ResponseWriter.WriteHeader(status)
		}
		return
	}
	h := a.Header()
	for _, name := range []string{"Content-Type", "Date"} {
		if _, ok := h[name]; !ok {
			h[name] = nil // package http adds none then
		}
	}
	if a.last {
		h.Set("Connection", "close")
	}
	if a.version < 20 && h.Get("Trailer") != "" { // they follow chunks alone
		h.Del("Content-Length")
	}
	a.ResponseWriter.WriteHeader(status)
	if h.Get("Content-Length") == "" {
		_ = a.control.Flush() // else package http finds out a length
	}
}

func (a *answer) Write(b []byte) (int, error) {
	_ = a.control.SetWriteDeadline(time.Now().Add(clientStall))
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

var buffers pool

// pool has buffers for bodies.
type pool struct{ p sync.Pool }

const bufferSize = 64 << 10

func (p *pool) Get() []byte {
	if b, ok := p.p.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

func (p *pool) Put(b []byte) { p.p.Put((*[bufferSize]byte)(b)) }

var (
	_ http.Handler        = relay{}
	_ httputil.BufferPool = (*pool)(nil)
)
