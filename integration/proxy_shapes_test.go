//go:build e2e

package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy/ca"
)

// shape is a URL that servers and clients may get wrong, or a way to ask for it.
type shape struct {
	name string
	path string
	// curl are arguments of curl; nil means that any client can ask, with GET.
	curl []string
	// http1 says that it is another thing in HTTP/2.
	http1 bool
}

var shapes = []shape{
	{name: "small", path: "/small"},
	{name: "empty", path: "/empty"},
	{name: "chunked", path: "/chunked"},
	{name: "chunked and empty", path: "/chunked-empty"},
	{name: "chunks that come slowly", path: "/slow-chunks"},
	{name: "a head that comes late", path: "/late"},
	{name: "gzip", path: "/gzip"},
	{name: "gzip, decoded", path: "/gzip", curl: []string{"--compressed"}},
	{name: "a part", path: "/ranges", curl: []string{"-r", "1000-1999"}},
	{name: "the end", path: "/ranges", curl: []string{"-r", "-5"}},
	{name: "two parts", path: "/ranges", curl: []string{"-r", "0-9,20-29"}},
	{name: "a part that is not there", path: "/ranges", curl: []string{"-r", "99999999-"}},
	{name: "not modified", path: "/ranges", curl: []string{"-H", `If-None-Match: "v1"`}},
	{name: "not modified since", path: "/ranges", curl: []string{"-z", "2026-01-01"}},
	{name: "moved", path: "/redirect/301", curl: []string{}},
	{name: "found, followed", path: "/redirect/302", curl: []string{"-L"}},
	{name: "POST redirected", path: "/redirect/307", curl: []string{"-L", "-d", "again"}},
	{name: "HEAD", path: "/small", curl: []string{"-I"}},
	{name: "HEAD of chunks", path: "/chunked", curl: []string{"-I"}},
	{name: "no content", path: "/204"},
	{name: "trailers", path: "/trailers"},
	{name: "a body that breaks off", path: "/breaks-off"},
	{name: "chunks that break off", path: "/chunks-break-off"},
	{name: "an answer until the end of the connection", path: "/http10", http1: true},
	{name: "large headers", path: "/large-headers"},
	{name: "a large request", path: "/echo", curl: []string{"-H", "X-Large: " + strings.Repeat("x", 60_000)}},
	{name: "percent-encoded", path: "/echo/a%2Fb%20c%c3%a9?x=%41%zz&;&=&y"},
	{name: "odd characters", path: "/echo/a|b^c~'(d)?e[f]{g}", curl: []string{"-g"}},
	{name: "dots and slashes", path: "/echo/a/../b/./c//d", curl: []string{"--path-as-is"}},
	{name: "nothing after the host", path: "", curl: []string{}},
	{name: "POST", path: "/echo", curl: []string{"-d", "a=b&c=d"}},
	{name: "POST of nothing", path: "/echo", curl: []string{"-d", ""}},
	{name: "POST in chunks", path: "/echo", curl: []string{"-H", "Transfer-Encoding: chunked", "-d", strings.Repeat("chunk", 10_000)}},
	{name: "POST that asks first", path: "/echo", curl: []string{"-H", "Expect: 100-continue", "-d", strings.Repeat("x", 100_000)}, http1: true},
	{name: "POST that is refused first", path: "/expectation-failed", curl: []string{"-H", "Expect: 100-continue", "-d", strings.Repeat("x", 100_000)}, http1: true},
	{name: "PUT", path: "/echo", curl: []string{"-X", "PUT", "-d", "x"}},
	{name: "DELETE", path: "/echo", curl: []string{"-X", "DELETE"}},
	{name: "OPTIONS", path: "/echo", curl: []string{"-X", "OPTIONS"}},
	{name: "a method that nobody knows", path: "/echo", curl: []string{"-X", "BREW"}},
	{name: "two headers of one name", path: "/echo", curl: []string{"-H", "X-A: 1", "-H", "X-A: 2", "-H", "X-Forwarded-For: 10.1.1.1"}},
	{name: "no user agent", path: "/echo", curl: []string{"-A", ""}},
	{name: "a login", path: "/login", curl: []string{"-u", "me:secret"}},
	{name: "a login that is wanted", path: "/login", curl: []string{}},
	{name: "not found", path: "/404"},
	{name: "an error", path: "/500"},
	{name: "cookies", path: "/cookies"},
	{name: "no type", path: "/untyped"},
	{name: "early hints", path: "/hints"},
	{name: "events", path: "/events"},
	{name: "a coding that nobody decodes", path: "/zstd", curl: []string{}},
	{name: "large", path: "/large"},
	{name: "ten times in one connection", path: "/small?[1-10]", curl: []string{}},
}

// modified is when everything of the origin was.
var modified = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// filler is text of some length, the same every time.
func filler(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// newShapes is the server of the shapes. All that it says is the same each time.
func newShapes() http.Handler {
	mux := http.NewServeMux()
	large := filler(16 * mib)
	say := func(path string, f http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Date", modified.Format(http.TimeFormat))
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Type", "application/octet-stream")
			f(w, r)
		})
	}
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	say("/small", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello\x00\xff\r\n")) })
	say("/empty", func(http.ResponseWriter, *http.Request) {})
	say("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		for n := range 5 {
			_, _ = w.Write(large[:n*1000])
			flush(w)
		}
	})
	say("/chunked-empty", func(w http.ResponseWriter, _ *http.Request) { flush(w) })
	say("/slow-chunks", func(w http.ResponseWriter, _ *http.Request) {
		for range 5 {
			_, _ = w.Write([]byte("tick "))
			flush(w)
			time.Sleep(20 * time.Millisecond)
		}
	})
	say("/late", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(200 * time.Millisecond)
		_, _ = w.Write([]byte("late"))
	})
	say("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(bytes.Repeat([]byte("squeeze "), 1000))
		_ = z.Close()
	})
	say("/zstd", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "zstd")
		_, _ = w.Write(large[:1000])
	})
	say("/ranges", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("X-Boundary", "varies")
		if strings.Contains(r.Header.Get("Range"), ",") { // ServeContent would draw one by lot
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=B")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = fmt.Fprintf(w, "--B\r\nContent-Range: bytes 0-9/100\r\n\r\n%s\r\n--B--\r\n", large[:10])
			return
		}
		http.ServeContent(w, r, "", modified, bytes.NewReader(large[:100_000]))
	})
	for _, status := range []int{301, 302, 307} {
		say(fmt.Sprint("/redirect/", status), func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else HTTP/2 resets the stream, which this curl takes for a failure
			http.Redirect(w, r, "/echo", status)
		})
	}
	say("/204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	say("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = w.Write(large[:1000])
		w.Header().Set("X-Sum", "42")
	})
	say("/breaks-off", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(large[:10_000])
		flush(w)
		panic(http.ErrAbortHandler)
	})
	say("/chunks-break-off", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(large[:10_000])
		flush(w)
		panic(http.ErrAbortHandler)
	})
	say("/http10", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Type: a/b\r\n\r\nuntil the end")
	})
	say("/large-headers", func(w http.ResponseWriter, _ *http.Request) {
		for n := range 10 {
			w.Header().Set(fmt.Sprint("X-Large-", n), strings.Repeat("y", 8000))
		}
	})
	echo := func(w http.ResponseWriter, r *http.Request) {
		body := sha256.New()
		n, _ := io.Copy(body, r.Body)
		_, _ = fmt.Fprintf(w, "%s %s\nhost %s\n%d bytes, %x\n", r.Method, r.RequestURI, r.Host, n, body.Sum(nil))
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			if name != "Connection" && name != "Keep-Alive" {
				_, _ = fmt.Fprintf(w, "%s: %q\n", name, r.Header[name])
			}
		}
	}
	say("/echo", echo)
	say("/echo/", echo)
	say("/", echo)
	say("/expectation-failed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusExpectationFailed) })
	say("/login", func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "welcome")
	})
	for _, status := range []int{404, 500} {
		say(fmt.Sprint("/", status), func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) })
	}
	say("/cookies", func(w http.ResponseWriter, _ *http.Request) {
		for _, c := range []string{"a=1; Path=/", "b=2; HttpOnly", "c=, ;"} {
			w.Header().Add("Set-Cookie", c)
		}
	})
	say("/untyped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	})
	say("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hinted")
	})
	say("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			flush(w)
		}
	})
	say("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) })
	say("/page", page)
	// The mux would clean paths.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/echo/") || r.Method == http.MethodOptions {
			w.Header().Set("Date", modified.Format(http.TimeFormat))
			echo(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// page asks for all shapes that any client can ask for, and shows what came.
func page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<pre id=out></pre><script>\nlet lines = [];\n")
	for _, s := range shapes {
		if s.curl == nil && !s.http1 {
			_, _ = fmt.Fprintf(w, "ask(%q);\n", s.path)
		}
	}
	_, _ = io.WriteString(w, `
document.getElementById("out").textContent = lines.join("\n");
function ask(path) {
	const r = new XMLHttpRequest();
	try {
		r.open("GET", path, false);
		r.overrideMimeType("text/plain; charset=x-user-defined");
		r.send();
		let sum = 0;
		for (let i = 0; i < r.responseText.length; i++) sum = (sum * 31 + (r.responseText.charCodeAt(i) & 255)) % 1000000007;
		const head = r.getAllResponseHeaders().trim().split("\r\n").filter(h => !h.startsWith("transfer-encoding")).map(h => h.slice(0, 200)).sort().join("; ");
		lines.push([path, r.status, r.responseText.length, sum, head].join(" "));
	} catch (e) {
		lines.push([path, e.name].join(" "));
	}
}
</script>`)
}

// origins are servers of the shapes.
type origins struct {
	ca            string // file with the CA of those below
	plain, plain6 string
	secure, http2 string // URLs
}

func startOrigins(t *testing.T) origins {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, ca.Create(dir, ca.Options{Name: "the world's CA", ValidFor: time.Hour}))
	o := origins{ca: filepath.Join(dir, ca.CertFile)}
	issuer, err := ca.Load(o.ca, filepath.Join(dir, ca.KeyFile))
	require.NoError(t, err)
	cert, err := issuer.Certificate("127.0.0.1")
	require.NoError(t, err)
	handler := newShapes()
	serve := func(addr string, start func(*httptest.Server)) string {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		s := httptest.NewUnstartedServer(handler)
		s.Listener.Close()
		s.Listener = l
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.MaxHeaderBytes = 1 << 20
		start(s)
		t.Cleanup(s.Close)
		return s.URL
	}
	o.plain = serve("127.0.0.1:0", (*httptest.Server).Start)
	o.plain6 = serve("[::1]:0", (*httptest.Server).Start)
	o.secure = serve("127.0.0.1:0", (*httptest.Server).StartTLS)
	o.http2 = serve("127.0.0.1:0", func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	return o
}
