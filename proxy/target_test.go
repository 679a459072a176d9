package proxy

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy/ca"
)

func TestCONNECTTargets(t *testing.T) {
	for s, want := range map[string]string{
		"a.example:443":    "a.example:443",
		"A.Example.:443":   "a.example:443",
		"under_score.x:80": "under_score.x:80",
		"10.0.0.1:5000":    "10.0.0.1:5000",
		"[::1]:443":        "[::1]:443",
		"[0:0::1]:443":     "[::1]:443",
		"localhost:65535":  "localhost:65535",
	} {
		got, err := parseConnect(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got.String())
	}
	for _, s := range []string{
		"", ":", "a", "a:", ":443", "a:0", "a:65536", "a:http", "a:-1", "a:+1", "a:0443", "::1:443", "[::1]", "[a]:443", "[10.0.0.1]:1",
		"[fe80::1%eth0]:443", "a..b:1", ".:1", "a b:1", "a/b:1", "a@b:1", "ä:1", "a\x00:1", strings.Repeat("a", 64) + ":1",
		strings.Repeat("a.", 150) + "a:1", "http://a:1", "a:1:2",
	} {
		_, err := parseConnect(s)
		require.ErrorContains(t, err, "client: CONNECT wants host:port", s)
	}
}

func TestURLsOfRequests(t *testing.T) {
	for s, want := range map[string]string{
		"http://a.example/x":        "http://a.example/x",
		"HTTP://A.EXAMPLE.:80":      "http://a.example",
		"http://a.example:443/":     "http://a.example:443/",
		"https://a.example:443/":    "https://a.example/",
		"http://[::1]/":             "http://[::1]/",
		"http://[::1]:80/":          "http://[::1]/",
		"https://[0::1]:444/?a#b":   "https://[::1]:444/?a#b",
		"http://10.0.0.1:8080/a%2F": "http://10.0.0.1:8080/a%2F",
	} {
		u, err := url.Parse(s)
		require.NoError(t, err)
		got, err := parseURL(u)
		require.NoError(t, err, s)
		require.Equal(t, want, got.String())
	}
	for s, want := range map[string]string{
		"ftp://a/":                 "speaks http and https",
		"http:///x":                "is not host[:port]",
		"http://a:/":               "is not host[:port]",
		"http://a:0/":              "is not host[:port]",
		"http://a:99999/":          "is not host[:port]",
		"http://[fe80::1%25eth0]/": "is not host[:port]",
		"http://a_b..c/":           "is not host[:port]",
		"http://u:p@a/":            "send them in Authorization",
		"http:a":                   "is not host[:port]",
	} {
		u, err := url.Parse(s)
		require.NoError(t, err, s)
		_, err = parseURL(u)
		require.ErrorContains(t, err, want, s)
		require.NotContains(t, err.Error(), "u:p", "a password is in an error")
	}
}

func TestThePathIsTheClients(t *testing.T) {
	for uri, want := range map[string]string{
		"http://a/x?y":       "/x?y",
		"http://a":           "",
		"http://a?x":         "?x",
		"http://a//b":        "//b",
		"/x/http://y":        "/x/http://y",
		"*":                  "*",
		"http://a/b://c?d/e": "/b://c?d/e",
	} {
		require.Equal(t, want, pathOf(uri), uri)
	}
}

func FuzzConnect(f *testing.F) {
	for _, s := range []string{"a.example:443", "[::1]:443", "a:0", "[fe80::1%eth0]:1", "a.:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseConnect(s)
		if err != nil {
			return
		}
		again, err := parseConnect(got.String())
		if err != nil || again != got {
			t.Fatalf("%q is %q, which is %q (%v)", s, got, again, err)
		}
		if net.ParseIP(got.host) == nil && !ca.IsName(got.host) {
			t.Fatalf("%q is no host", got.host)
		}
	})
}

// FuzzRequest reads a request as the server does, and looks at what would be
// asked of the origin.
func FuzzRequest(f *testing.F) {
	f.Add("GET http://a.example/x HTTP/1.1\r\nHost: b\r\n\r\n")
	f.Add("OPTIONS http://a.example HTTP/1.1\r\n\r\n")
	f.Add("GET http://a//b|c?d HTTP/1.0\r\n\r\n")
	f.Add("GET http://[::1]:80/%zz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil || r.URL.Host == "" || r.Method == http.MethodConnect {
			return
		}
		u, err := parseURL(r.URL)
		if err != nil {
			return
		}
		r.URL = u
		keepPath(r, pathOf(r.RequestURI))
		var wire strings.Builder
		r.Body, r.ContentLength, r.Header, r.Trailer, r.TransferEncoding, r.Host = nil, 0, http.Header{}, nil, nil, u.Host
		if r.Write(&wire) != nil {
			return
		}
		asked, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String())))
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, wire.String(), err)
		}
		if asked.Host != u.Host || asked.Method != r.Method {
			t.Fatalf("%q becomes %q, for another host", text, wire.String())
		}
	})
}
