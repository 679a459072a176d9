package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/proxy/ca"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// bed is a proxy before a mirror, without a swarm.
type bed struct {
	*httptest.Server
	t     *testing.T
	proxy *proxy.Proxy
	store *p2ptest.Store
	ca    *x509.CertPool // nil: nothing is opened
	stop  func()
}

// everything matches every URL.
var everything = []proxy.Rule{{Regexp: regexp.MustCompile(`.`)}}

func newBed(t *testing.T, options ...func(*proxy.Config)) *bed {
	t.Helper()
	b := &bed{t: t, store: &p2ptest.Store{}}
	cfg := proxy.Config{Guard: proxy.NewGuard(nil), Rules: everything, Parent: func(*http.Request) (*url.URL, error) { return nil, nil }}
	for _, o := range options {
		o(&cfg)
	}
	if file := cfg.Intercept.CertFile; file != "" {
		b.ca = poolOf(t, file)
	}
	set := metrics.New()
	node, err := p2p.NewNode(p2p.Config{Store: b.store, Metrics: set})
	require.NoError(t, err)
	res, err := resolver.New(resolver.Config{Patterns: cfg.Intercept.Hosts, Control: cfg.Guard.Control})
	require.NoError(t, err)
	cfg.Mirror, err = mirror.New(mirror.Config{Node: node, Resolver: res, Metrics: set})
	require.NoError(t, err)
	b.proxy, err = proxy.New(cfg)
	require.NoError(t, err)
	b.Server = httptest.NewUnstartedServer(b.proxy)
	b.Config.ErrorLog = log.New(io.Discard, "", 0)
	cfg.Guard.Own(b.Listener.Addr())
	b.Start()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = node.Run(ctx) })
	running.Go(func() { _ = b.proxy.Run(ctx) })
	b.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		b.CloseClientConnections()
		b.Close()
		res.Close()
	})
	t.Cleanup(b.stop)
	return b
}

// intercepting opens the connections to hosts that match, with a new CA. Their
// certificates are signed by the CA in trusted.
func intercepting(t *testing.T, pattern, trusted string) func(*proxy.Config) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, ca.Create(dir, ca.Options{Name: "test", ValidFor: time.Hour}))
	return func(c *proxy.Config) {
		c.Intercept = proxy.Intercept{
			CertFile: filepath.Join(dir, ca.CertFile), KeyFile: filepath.Join(dir, ca.KeyFile),
			Hosts: []resolver.Pattern{{Host: regexp.MustCompile(pattern), CAFile: trusted}},
		}
	}
}

func poolOf(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return pool
}

// certOf writes the certificate of a server into a file.
func certOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	return file
}

// client speaks through the proxy, and trusts its CA alone.
func (b *bed) client() *http.Client {
	to, err := url.Parse(b.URL)
	require.NoError(b.t, err)
	transport := &http.Transport{
		Proxy: http.ProxyURL(to), DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: b.ca},
	}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
	err  error // of the body
}

func (b *bed) get(client *http.Client, url string, header ...string) answer {
	b.t.Helper()
	return b.do(client, http.MethodGet, url, nil, header...)
}

func (b *bed) do(client *http.Client, method, url string, body io.Reader, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, url, body)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp, string(got), err}
}

// conn is a connection to the proxy.
type conn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (b *bed) dial() *conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.Listener.Addr().String())
	require.NoError(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	require.NoError(b.t, c.SetDeadline(time.Now().Add(10*time.Second)))
	return &conn{c, b.t, bufio.NewReader(c)}
}

func (c *conn) say(text string) {
	c.t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(c.t, err)
}

// hear reads a response.
func (c *conn) hear() answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	require.NoError(c.t, err)
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body), err}
}

// connect opens a tunnel, through which the connection then leads.
func (b *bed) connect(to string) *conn {
	b.t.Helper()
	c := b.dial()
	c.say("CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n\r\n")
	line, err := c.r.ReadString('\n')
	require.NoError(b.t, err)
	require.Contains(b.t, line, " 200 ")
	_, err = c.r.ReadString('\n')
	require.NoError(b.t, err)
	return c
}

// Read reads what has not been read from the reader.
func (c *conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// listener serves each connection with f.
func listener(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// origin is a server that answers with what it was asked.
func origin(t *testing.T, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_ = r.Write(&b)
		w.Header().Set("Protocol", r.Proto)
		_, _ = w.Write(b.Bytes())
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	start(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}
