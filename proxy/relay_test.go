package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy"
)

// verbatim answers every request with a text, after it has read the head of the
// request, which it sends to heard.
func verbatim(t *testing.T, text string) (addr string, heard chan string) {
	heard = make(chan string, 100)
	return listener(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		heard <- head.String()
		_, _ = io.WriteString(c, text)
	}), heard
}

func TestARequestIsRelayedAsItIs(t *testing.T) {
	addr, heard := verbatim(t, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	b := newBed(t)
	c := b.dial()
	c.say("GET http://" + addr + "/a%2Fb|c%zz HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, http.StatusBadRequest, c.hear().StatusCode, "no URL")

	for sent, want := range map[string]string{
		"GET http://" + addr + "/a%2Fb/../|\"<c>?d=%zz&;=é&d HTTP/1.1\r\nHost: elsewhere\r\nAccept-Encoding: x;q=0\r\nX-Forwarded-For: 10.1.1.1\r\n" +
			"Forwarded: for=me\r\nX-Twice: a\r\nX-Twice: b\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\n" +
			"Connection: X-Hop\r\nX-Hop: here\r\nKeep-Alive: 5\r\nVia: 1.1 other\r\n\r\n": "GET /a%2Fb/../|\"<c>?d=%zz&;=é&d HTTP/1.1\r\nHost: " + addr + "\r\nAccept-Encoding: x;q=0\r\n" +
			"Forwarded: for=me\r\nVia: 1.1 other\r\nX-Forwarded-For: 10.1.1.1\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n",
		"GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n":                                                               "GET / HTTP/1.1\r\nHost: " + addr + "\r\nX-Folded: a b\r\n\r\n", // RFC 9112, section 5.2
		"GET http://" + addr + " HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                     "GET / HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"GET http://" + addr + "/? HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                   "GET /? HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"GET http://" + addr + "//a|b HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                "GET http://" + addr + "//a|b HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"GET http://" + addr + "//a HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                  "GET //a HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"OPTIONS http://" + addr + " HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                 "OPTIONS * HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"BREW http://" + addr + "/pot HTTP/1.1\r\nHost: x\r\n\r\n":                                                                                "BREW /pot HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n":                                                  "GET / HTTP/1.1\r\nHost: " + addr + "\r\nTe: trailers\r\n\r\n",
		"GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n": "GET / HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nAuthorization: NTLM abc\r\n\r\n":                                                         "GET / HTTP/1.1\r\nHost: " + addr + "\r\nConnection: close\r\nAuthorization: NTLM abc\r\n\r\n",
	} {
		c := b.dial()
		c.say(sent)
		require.Equal(t, http.StatusNoContent, c.hear().StatusCode, sent)
		require.Equal(t, want, <-heard)
	}
}

func TestAnAnswerIsRelayedAsItIs(t *testing.T) {
	b := newBed(t)
	for sent, want := range map[string]string{
		// No type, no date, no length is added.
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
		"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Encoding: gzip\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nab": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\nContent-Type: a/b\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nab",
		"HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\nContent-Length: 5\r\n\r\n":                                                                                                      "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n", // a length says nothing there
		"HTTP/1.1 302 Found\r\nLocation: /x|y\r\nContent-Length: 0\r\n\r\n":                                                                                                          "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /x|y\r\n\r\n",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\n\r\nbc":                                                                                  "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 1-2/9\r\n\r\nbc",
		"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\nConnection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\n\r\n":                                                                "HTTP/1.1 299 status code 299\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx":                                                                                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n":                                                                   "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-Large: " + strings.Repeat("x", 500<<10) + "\r\nContent-Length: 0\r\n\r\n": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Large: " + strings.Repeat("x", 500<<10) + "\r\n\r\n",
	} {
		addr, _ := verbatim(t, sent)
		c := b.dial()
		c.say("GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
		got := make([]byte, len(want))
		n, err := io.ReadFull(c, got)
		require.NoError(t, err, "%s gave %s", sent, got[:n])
		require.Equal(t, want, string(got))
	}
}

func TestAnOldClientGetsOneAnswer(t *testing.T) {
	addr, _ := verbatim(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
	c := newBed(t).dial()
	c.say("GET http://" + addr + "/ HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", string(got))
}

func TestTrailersReachAClientOfTheOlderVersion(t *testing.T) {
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Content-Length", "4") // HTTP/2 has both
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "7")
	}))
	o.EnableHTTP2 = true
	o.StartTLS()
	t.Cleanup(o.Close)
	b := newBed(t, intercepting(t, regexOf(o), certOf(t, o)))
	client := b.client()
	client.Transport.(*http.Transport).Protocols = new(http.Protocols)
	client.Transport.(*http.Transport).Protocols.SetHTTP1(true)
	got := b.get(client, o.URL)
	require.Equal(t, "body", got.body)
	require.Equal(t, "7", got.Trailer.Get("X-Sum"))
}

func TestABodyThatIsCutShortIsCutShort(t *testing.T) {
	b := newBed(t)
	for _, sent := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		addr, _ := verbatim(t, sent)
		got := b.get(b.client(), "http://"+addr)
		require.Equal(t, "half", got.body)
		require.ErrorIs(t, got.err, io.ErrUnexpectedEOF)
	}
}

func TestTrailersOfARequestAreRelayed(t *testing.T) {
	got := make(chan string, 1)
	o := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprint(string(body), r.Trailer)
	}))
	t.Cleanup(o.Close)
	c := newBed(t).dial()
	c.say("POST " + o.URL + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
	require.Equal(t, http.StatusOK, c.hear().StatusCode)
	require.Equal(t, "abcmap[X-Sum:[7]]", <-got)
}

func TestAClientThatAsksBeforeItSendsIsAnswered(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(o.Close)
	b := newBed(t)
	c := b.dial()
	c.say("POST " + o.URL + "/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	line, err := c.r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = c.r.ReadString('\n')
	require.NoError(t, err)
	c.say("body")
	require.Equal(t, "body", c.hear().body)

	c = b.dial()
	c.say("POST " + o.URL + "/no HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	require.Equal(t, http.StatusExpectationFailed, c.hear().StatusCode)
}

// What two servers could read in two ways is not relayed: the second request
// would be one that no rule has seen.
func TestRequestsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	addr, heard := verbatim(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	b := newBed(t, intercepting(t, `^opened\.example:`, ""))
	for name, head := range map[string]string{
		"two lengths":              "Content-Length: 3\r\nContent-Length: 4\r\n",
		"two lengths in one":       "Content-Length: 3, 4\r\n",
		"a signed length":          "Content-Length: +3\r\n",
		"an empty length":          "Content-Length: \r\n",
		"an unknown coding":        "Transfer-Encoding: gzip\r\n",
		"chunked, not last":        "Transfer-Encoding: chunked, identity\r\n",
		"chunked twice":            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"a coding with a tab":      "Transfer-Encoding: \x0bchunked\r\n",
		"a space before the colon": "Content-Length : 3\r\n",
		"a folded length":          "Content-Length: 3\r\nContent-Length:\r\n 4\r\n",
		"a line without a colon":   "X-A\r\n",
		"a zero byte":              "X-A: \x00\r\n",
		"a bare CR":                "X-A: a\rContent-Length: 3\r\n",
		"two hosts":                "Host: y\r\n",
		"a host with a path":       "X: y\r\n",
	} {
		c := b.dial()
		host := "x"
		if name == "a host with a path" {
			host = "x/y"
		}
		c.say("POST http://" + addr + "/ HTTP/1.1\r\nHost: " + host + "\r\n" + head + "\r\nabcGET http://" + addr + "/second HTTP/1.1\r\nHost: x\r\n\r\n")
		got := c.hear()
		if name == "a host with a path" { // the URI counts
			continue
		}
		require.GreaterOrEqual(t, got.StatusCode, 400, name)
		require.Less(t, got.StatusCode, 502, name)
		_, err := c.r.ReadByte()
		require.Error(t, err, "%s: the connection goes on", name)
		select {
		case r := <-heard:
			require.Fail(t, "it was relayed", "%s: %s", name, r)
		default:
		}
	}
}

func TestALengthBesideChunksHidesNoRequest(t *testing.T) {
	addr, heard := verbatim(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	c := newBed(t).dial()
	c.say("POST http://" + addr + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"GET http://" + addr + "/second HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, http.StatusOK, c.hear().StatusCode)
	_, err := c.r.ReadByte()
	require.Error(t, err)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection stays open")
	require.NotContains(t, <-heard, "Content-Length")
	require.Empty(t, heard)
}

func TestTheProxySaysWhyItCannotGoThere(t *testing.T) {
	b := newBed(t)
	gone := listener(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	l.Close()
	for uri, want := range map[string]struct {
		status int
		text   string
	}{
		"http://" + b.Listener.Addr().String() + "/v2/": {http.StatusForbidden, "it is the agent itself"},
		"http://169.254.169.254/latest/meta-data/":      {http.StatusForbidden, "it is a link-local address"},
		"http://[fe80::1]/":                             {http.StatusForbidden, "it is a link-local address"},
		"http://" + nobody + "/":                        {http.StatusBadGateway, "upstream: " + nobody + " cannot be reached"},
		"http://" + gone + "/":                          {http.StatusBadGateway, "upstream: " + gone + " cannot be reached"},
		"http://nowhere.invalid/":                       {http.StatusBadGateway, "the name of nowhere.invalid cannot be resolved"},
		"ftp://a/":                                      {http.StatusNotImplemented, "http and https"},
		"http://u:p@a/":                                 {http.StatusBadRequest, "Authorization"},
	} {
		c := b.dial()
		c.say("GET " + uri + " HTTP/1.1\r\nHost: x\r\n\r\n")
		got := c.hear()
		require.Equal(t, want.status, got.StatusCode, "%s: %s", uri, got.body)
		require.Contains(t, got.body, want.text)
		require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
		u, err := url.Parse(uri)
		require.NoError(t, err)
		if u.Scheme == "http" && u.User == nil { // the same through a tunnel
			at := u.Host
			if u.Port() == "" {
				at += ":80"
			}
			c = b.dial()
			c.say("CONNECT " + at + " HTTP/1.1\r\nHost: x\r\n\r\n")
			if uri != "http://"+gone+"/" { // which accepts
				require.Equal(t, want.status, c.hear().StatusCode, uri)
			}
		}
	}
}

func TestRegistriesDoNotLeadWhereNobodyMayGo(t *testing.T) {
	b := newBed(t)
	for _, host := range []string{b.Listener.Addr().String(), "169.254.169.254"} {
		got := b.get(b.client(), "http://"+host+"/v2/app/manifests/latest")
		require.Equal(t, http.StatusBadGateway, got.StatusCode)
		require.Contains(t, got.body, "proxy.allow_to opens it")
	}
}

func TestOtherMachinesAreNotServedByDefault(t *testing.T) {
	o := origin(t, (*httptest.Server).Start)
	guard := proxy.NewGuard(nil)
	for from, want := range map[string]int{"192.0.2.1:5": http.StatusForbidden, "10.1.2.3:5": http.StatusOK, "127.0.0.1:5": http.StatusOK, "[::1]:5": http.StatusOK, "?": http.StatusForbidden} {
		p, err := proxy.New(proxy.Config{
			Guard: guard, AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Mirror: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		})
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, o.URL, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, from)
		if want == http.StatusForbidden {
			require.Contains(t, w.Body.String(), "proxy.allow_from")
		}
		r = httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr = from
		w = httptest.NewRecorder()
		p.ServeHTTP(w, r)
		require.Equal(t, http.StatusTeapot, w.Code, "the mirror is for all")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
