package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

// Registry is an upstream registry.
type Registry struct {
	*httptest.Server

	tb   testing.TB
	real *olareg.Server
	sent atomic.Int64

	mu       sync.Mutex
	harm     Harm
	auth     *auth // nil: everything is public
	requests []Request
}

// Request is what the registry was asked.
type Request struct {
	Method, Path, Query string
	Header              http.Header
}

// New starts a registry that speaks HTTP. It ends with the test.
func New(tb testing.TB) *Registry { return start(tb, (*httptest.Server).Start) }

// NewTLS starts a registry that speaks HTTPS, with a certificate that only its
// own Certificate vouches for.
func NewTLS(tb testing.TB) *Registry { return start(tb, (*httptest.Server).StartTLS) }

func start(tb testing.TB, run func(*httptest.Server)) *Registry {
	r := &Registry{tb: tb, real: olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem, GC: config.ConfigGC{Frequency: -1}},
	})}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	run(r.Server)
	tb.Cleanup(func() {
		r.Server.CloseClientConnections()
		r.Server.Close()
		_ = r.real.Close()
	})
	return r
}

// Host is host:port of the registry.
func (r *Registry) Host() string { return r.Listener.Addr().String() }

// BlobBytes is how many bytes of blobs have left.
func (r *Registry) BlobBytes() int64 { return r.sent.Load() }

// Requests are those so far whose "METHOD path" matches a regular expression.
func (r *Registry) Requests(pattern string) []Request {
	re := regexp.MustCompile(pattern)
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Request
	for _, q := range r.requests {
		if re.MatchString(q.Method + " " + q.Path) {
			found = append(found, q)
		}
	}
	return found
}

func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{q.Method, q.URL.Path, q.URL.RawQuery, q.Header.Clone()})
	harm, auth := r.harm, r.auth
	r.mu.Unlock()
	if harm.Only != nil && !harm.Only(q) {
		harm = Harm{}
	}
	if harm.refuse(w, q) {
		return
	}
	if auth != nil && !auth.admit(w, q) {
		return
	}
	if harm.RedirectTo != "" && strings.Contains(q.URL.Path, "/blobs/") {
		http.Redirect(w, q, harm.RedirectTo+q.URL.RequestURI(), http.StatusTemporaryRedirect)
		return
	}
	if harm.IgnoreRange {
		q.Header.Del("Range")
	}
	r.real.ServeHTTP(&answer{ResponseWriter: w, r: r, q: q, harm: harm}, q)
}
