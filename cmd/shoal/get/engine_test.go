package get

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/cmd/shoal/get/gettest"
)

// recorder is an engine's handler, and a Watcher, which remember.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	notes    []string
	started  []string
	handle   http.HandlerFunc
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Clone(context.Background()))
	r.mu.Unlock()
	r.handle(w, req)
}

func (r *recorder) Started(name string, _, _ int64, _ string) { r.started = append(r.started, name) }
func (r *recorder) Moved(int64)                               {}
func (r *recorder) Note(text string)                          { r.notes = append(r.notes, text) }

// fetch gets a URL through an engine in memory.
func (r *recorder) fetch(t *testing.T, url, output string, o Options) (Result, error) {
	t.Helper()
	u, err := ParseURL(url)
	require.NoError(t, err)
	return r.get(t, t.Context(), u.String(), output, o)
}

func (r *recorder) get(t *testing.T, ctx context.Context, url, output string, o Options) (Result, error) {
	t.Helper()
	u, err := ParseURL(url)
	require.NoError(t, err)
	e := Serve(r)
	defer func() { require.NoError(t, e.Close()) }()
	o.Engine, o.Watch = e, r
	if o.RetryDelay == 0 {
		o.RetryDelay = time.Millisecond
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	return New(o).Get(ctx, u, output)
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestRequestsAreInAbsoluteForm(t *testing.T) {
	for url, want := range map[string][2]string{ // request target, Host
		"http://h":                         {"http://h/", "h"},
		"https://h:8443/a/b?x=1&y=%2F":     {"https://h:8443/a/b?x=1&y=%2F", "h:8443"},
		"https://[::1]:8443/a":             {"https://[::1]:8443/a", "[::1]:8443"},
		"http://bücher.example/ü b":        {"http://xn--bcher-kva.example/%C3%BC%20b", "xn--bcher-kva.example"},
		"http://h/a%2Fb//c/../d":           {"http://h/a%2Fb//c/../d", "h"},
		"http://h/?q=a b&r=ü;\"":           {"http://h/?q=a%20b&r=%C3%BC;\"", "h"},
		"http://user:pass@h/a?b#fragment":  {"http://h/a?b", "h"},
		"http://h/*":                       {"http://h/*", "h"},
		"https://h/p%20q+r:s@t!$&'()*,;=~": {"https://h/p%20q+r:s@t!$&'()*,;=~", "h"},
	} {
		r := &recorder{handle: hello}
		_, err := r.fetch(t, url, "-", Options{})
		require.NoError(t, err, url)
		require.Len(t, r.requests, 1, url)
		require.Equal(t, http.MethodGet, r.requests[0].Method)
		require.Equal(t, want[0], r.requests[0].RequestURI)
		require.Equal(t, want[1], r.requests[0].Host)
	}
}

func TestTheUsersHeadersGoToTheSource(t *testing.T) {
	r := &recorder{handle: hello}
	_, err := r.fetch(t, "http://us%20er:p%3Aw@h/", "-", Options{Header: http.Header{"X-A": {"1", "2"}, "User-Agent": {"mine"}}, Source: true, Range: Range{kind: tail, count: 5}})
	require.NoError(t, err)
	h := r.requests[0].Header
	user, password, _ := r.requests[0].BasicAuth()
	require.Equal(t, [2]string{"us er", "p:w"}, [2]string{user, password})
	require.Equal(t, []string{"1", "2"}, h["X-A"])
	require.Equal(t, "mine", h.Get("User-Agent"))
	require.Equal(t, "identity", h.Get("Accept-Encoding"))
	require.Equal(t, "source", h.Get("Shoal-Get"))
	require.Equal(t, "bytes=-5", h.Get("Range"))

	_, err = r.fetch(t, "http://user:pw@h/", "-", Options{Header: http.Header{"Authorization": {"Bearer x"}}})
	require.NoError(t, err)
	require.Equal(t, "Bearer x", r.requests[1].Header.Get("Authorization"))
}

func TestRedirectsKeepSecretsToTheirOrigin(t *testing.T) {
	for to, keeps := range map[string]bool{
		"/b": true, "http://H:80/b": true, "?c": true,
		"https://h/b": false, "http://h:81/b": false, "http://sub.h/b": false, "http://evil:pw@other/b": false,
	} {
		r := &recorder{handle: func(w http.ResponseWriter, req *http.Request) {
			if req.URL.RawQuery == "token=s3cret" {
				http.Redirect(w, req, to, http.StatusFound)
				return
			}
			hello(w, req)
		}}
		_, err := r.fetch(t, "http://user:pw@h/a?token=s3cret", "-", Options{Header: http.Header{"X-Token": {"s3cret"}, "Cookie": {"s3cret"}}, Filter: []string{"x"}})
		require.NoError(t, err, to)
		h := r.requests[1].Header
		require.Equal(t, keeps, h.Get("X-Token") != "", to)
		require.Equal(t, keeps, h.Get("Cookie") != "", to)
		require.Equal(t, keeps, h.Get("Authorization") != "", to)
		require.Empty(t, h.Get("Referer"))
		require.Equal(t, "p2p", h.Get("Shoal-Get"))
		require.Equal(t, "x", h.Get("Shoal-Filter"))
	}
}

func TestRedirectsLeadToFilesAndAnEnd(t *testing.T) {
	for to, want := range map[string]string{"/a": "more than 20 times", "ftp://h/s3cret?s3cret": "no address of http", "http://": "no address of http", "http://%zz?s3cret": "no URL"} {
		r := &recorder{handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusMovedPermanently)
		}}
		_, err := r.fetch(t, "http://h/a", "-", Options{Retries: 3})
		require.ErrorContains(t, err, want)
		require.Equal(t, Refused, KindOf(err), err)
		require.NotContains(t, err.Error(), "?s3cret")
		require.Empty(t, r.notes)
	}
}

func TestSecretsAreInNoErrorAndNoNote(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, req *http.Request) { http.Error(w, req.URL.String(), http.StatusForbidden) },
		"broken":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"loop": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.String(), http.StatusFound)
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "hello")
		},
		"location": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://%zz?s3cret")
			w.WriteHeader(http.StatusFound)
		},
	} {
		r := &recorder{handle: handle}
		dir := t.TempDir()
		_, err := r.fetch(t, "http://s3cret:s3cret@h/a?s3cret", dir, Options{Header: http.Header{"X-Token": {"s3cret"}}, Retries: 2})
		require.Error(t, err, name)
		require.NotContains(t, err.Error()+strings.Join(append(r.notes, r.started...), "\n"), "s3cret", name)
		left, _ := filepath.Glob(dir + "/.*")
		require.NotContains(t, strings.Join(left, "\n"), "s3cret")
	}
}

func TestDirectSendsWhatTheSourceShallSee(t *testing.T) {
	var seen *http.Request
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8bno gzip at all"))
	}))
	defer source.Close()
	handler, end := gettest.Direct()
	defer end()
	e := Serve(handler)
	defer e.Close()
	u, err := ParseURL(source.URL + "/a?x=%zz;y")
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = New(Options{Engine: e, Watch: &recorder{}, Stdout: &out, Header: http.Header{"X-A": {"1"}}, Filter: []string{"y"}}).Get(t.Context(), u, "-")
	require.NoError(t, err)
	require.Equal(t, "\x1f\x8bno gzip at all", out.String())
	require.Equal(t, "/a?x=%zz;y", seen.RequestURI)
	require.Equal(t, u.Host, seen.Host)
	require.Equal(t, "1", seen.Header.Get("X-A"))
	for key := range seen.Header {
		require.False(t, strings.HasPrefix(key, "Shoal-") || strings.HasPrefix(key, "X-Forwarded"), key)
	}
	for target, want := range map[string]string{"http://127.0.0.1:1/a": "connection refused", "http://nowhere.invalid/a?s3cret": "nowhere.invalid"} {
		u, err := ParseURL(target)
		require.NoError(t, err)
		_, err = New(Options{Engine: e, Watch: &recorder{}, Stdout: &out}).Get(t.Context(), u, "-")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
		require.Equal(t, Unreachable, KindOf(err))
	}
}

func TestAnAgentThatIsNotThereIsNamed(t *testing.T) {
	e := Agent("127.0.0.1:1")
	defer e.Close()
	u, err := ParseURL("http://h/")
	require.NoError(t, err)
	_, err = New(Options{Engine: e, Watch: &recorder{}, Stdout: io.Discard}).Get(t.Context(), u, "-")
	require.ErrorContains(t, err, "the agent is not there")
	require.Equal(t, Unreachable, KindOf(err))
}
