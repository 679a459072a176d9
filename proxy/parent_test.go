package proxy_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy"
)

// startParent starts a proxy that lets those in who show the password, and leads
// everybody to the same place.
func startParent(t *testing.T, leadsTo string) (at *url.URL, asked chan *http.Request) {
	asked = make(chan *http.Request, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		if r.Header.Get("Proxy-Authorization") != "Basic bWU6c2VjcmV0" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			_, _ = io.WriteString(w, "by the parent")
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		to, err := net.Dial("tcp", leadsTo)
		if err != nil {
			panic(err)
		}
		defer to.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y\r\n\r\nat once ")
		go func() { _, _ = io.Copy(to, c); _ = to.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(c, to)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	at, err := url.Parse(s.URL)
	require.NoError(t, err)
	return at, asked
}

func TestAParentLeadsToOrigins(t *testing.T) {
	at, asked := startParent(t, listener(t, echo))
	at.User = url.UserPassword("me", "secret")
	b := newBed(t, func(c *proxy.Config) {
		c.Rules = nil
		c.Parent = func(r *http.Request) (*url.URL, error) {
			if strings.HasSuffix(r.URL.Hostname(), ".internal") {
				return nil, nil
			}
			return at, nil
		}
	})
	require.Equal(t, "by the parent", b.get(b.client(), "http://a.example/x").body)
	require.Equal(t, "http://a.example/x", (<-asked).RequestURI)

	c := b.connect("a.example:443")
	c.say("hello ")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "at once hello end", string(got))
	r := <-asked
	require.Equal(t, "a.example:443", r.RequestURI)
	require.Equal(t, "a.example:443", r.Host)

	for _, where := range []string{"169.254.169.254:80", b.Listener.Addr().String()} {
		c = b.dial()
		c.say("CONNECT " + where + " HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Equal(t, http.StatusForbidden, c.hear().StatusCode)
		require.Equal(t, http.StatusForbidden, b.get(b.client(), "http://"+where).StatusCode)
	}
	c = b.dial()
	c.say("CONNECT nowhere.internal:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Contains(t, c.hear().body, "the name of nowhere.internal:443 cannot be resolved")
	require.Empty(t, asked)
}

func TestAParentThatDoesNotLeadThereIsNamed(t *testing.T) {
	at, _ := startParent(t, "")
	at.User = url.UserPassword("me", "wrong")
	b := newBed(t, func(c *proxy.Config) { c.Parent = http.ProxyURL(at) })
	c := b.dial()
	c.say("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	got := c.hear()
	require.Equal(t, http.StatusBadGateway, got.StatusCode)
	require.Contains(t, got.body, "by the proxy http://me:xxxxx@"+at.Host)
	require.Contains(t, got.body, "407 Proxy Authentication Required")
	require.NotContains(t, got.body, "wrong")

	endless := listener(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100_000)) })
	for host, want := range map[string]string{endless: "too large", "x.invalid:1": "cannot be resolved"} {
		b = newBed(t, func(c *proxy.Config) { c.Parent = http.ProxyURL(&url.URL{Scheme: "http", Host: host}) })
		c = b.dial()
		c.say("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Contains(t, c.hear().body, want)
	}
	b = newBed(t, func(c *proxy.Config) { c.Parent = http.ProxyURL(&url.URL{Scheme: "socks5", Host: "x"}) })
	c = b.dial()
	c.say("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Contains(t, c.hear().body, "only http and https proxies are known")
}
