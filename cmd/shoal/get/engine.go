package get

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Engine is a way to an agent, or to a handler in this process. It sends each
// request in absolute form (RFC 9112, 3.2.2), https ones too. Close it.
type Engine struct {
	transport *http.Transport
	server    *http.Server // nil: an agent
	served    chan struct{}
}

// Agent is the way to the agent whose mirror listens at addr.
func Agent(addr string) *Engine {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return through(func(ctx context.Context) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("the agent is not there: %w", err)
		}
		return conn, nil
	})
}

// Serve runs handler in this process, without an address that others could
// reach.
func Serve(handler http.Handler) *Engine {
	in := newMemory()
	e := through(in.dial)
	e.server = &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: maxHeaders}
	e.served = make(chan struct{})
	go func() {
		defer close(e.served)
		_ = e.server.Serve(in) // ends when the engine is closed
	}()
	return e
}

func through(dial func(context.Context) (net.Conn, error)) *Engine {
	return &Engine{transport: &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaders,
		ReadBufferSize:         64 << 10,
	}}
}

// RoundTrip sends a request for a URL of http or https to the engine.
func (e *Engine) RoundTrip(req *http.Request) (*http.Response, error) {
	target, err := absolute(req.URL)
	if err != nil {
		return nil, err
	}
	sent := req.Clone(req.Context())
	sent.Host = target.Host
	sent.URL = &url.URL{Scheme: "http", Host: "engine", RawQuery: queryForm(target.RawQuery)}
	target.RawQuery, target.ForceQuery = "", false
	sent.URL.Opaque = target.String()
	return e.transport.RoundTrip(sent)
}

// absolute is a URL as it stands in a request line.
func absolute(u *url.URL) (*url.URL, error) {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, failed(Refused, "it leads to %s, which is no address of http or https", shown(u))
	}
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return nil, failed(Usage, "host %q is no name: %w", printable(u.Host), err)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	plain, _ := url.PathUnescape(path)
	return &url.URL{Scheme: u.Scheme, Host: host, Path: plain, RawPath: path, RawQuery: u.RawQuery}, nil
}

// queryForm escapes what may not stand in a request line.
func queryForm(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Close ends the engine. It waits until its handler has returned from all
// requests, whose answers must have been closed.
func (e *Engine) Close() error {
	e.transport.CloseIdleConnections()
	if e.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, e.server.Close())
	}
	<-e.served
	return err
}

var _ http.RoundTripper = (*Engine)(nil)
