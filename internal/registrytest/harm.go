package registrytest

import (
	"net/http"
	"strings"
)

// Harm is what goes wrong. The zero value is none.
type Harm struct {
	// Only chooses the requests that harm meets; nil means all.
	Only func(*http.Request) bool

	// Status answers requests; 0 means the registry does. Header and Body go
	// with it.
	Status int
	Header http.Header
	Body   string
	// Drop closes the connection instead of an answer.
	Drop bool
	// Hang keeps requests without answer until it is closed, or the client
	// leaves; nil does not.
	Hang <-chan struct{}

	// IgnoreRange answers 200 with the whole.
	IgnoreRange bool
	// HideDigest leaves Docker-Content-Digest out.
	HideDigest bool
	// Encoding is a Content-Encoding to claim; "" claims none.
	Encoding string
	// RedirectTo sends requests for blobs to another origin, such as
	// "http://cdn.example"; "" does not.
	RedirectTo string

	// Cut ends the connection after so many bytes of a body; 0 does not.
	Cut int
	// Wrong changes the byte at that position of a body, counted from 1; 0
	// changes none.
	Wrong int
	// Hold stops bodies after HoldAt bytes until it is closed, or the client
	// leaves; nil does not.
	Hold   <-chan struct{}
	HoldAt int
}

// Do does harm from now on. The zero value ends that.
func (r *Registry) Do(h Harm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.harm = h
}

// Blobs chooses requests for blobs, Manifests those for manifests.
func Blobs(q *http.Request) bool { return strings.Contains(q.URL.Path, "/blobs/") }

// Manifests chooses requests for manifests.
func Manifests(q *http.Request) bool { return strings.Contains(q.URL.Path, "/manifests/") }

// refuse does the harm that comes instead of an answer.
func (h Harm) refuse(w http.ResponseWriter, q *http.Request) bool {
	if h.Hang != nil {
		select {
		case <-h.Hang:
		case <-q.Context().Done():
			return true
		}
	}
	switch {
	case h.Drop:
		panic(http.ErrAbortHandler)
	case h.Status == 0:
		return false
	}
	for k, v := range h.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(h.Status)
	_, _ = w.Write([]byte(h.Body))
	return true
}

// answer counts, and harms what is on its way.
type answer struct {
	http.ResponseWriter
	r    *Registry
	q    *http.Request
	harm Harm
	at   int
}

func (a *answer) WriteHeader(status int) {
	if a.harm.HideDigest {
		a.Header().Del("Docker-Content-Digest")
	}
	if a.harm.Encoding != "" {
		a.Header().Set("Content-Encoding", a.harm.Encoding)
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (n int, err error) {
	if i := a.harm.Wrong - 1 - a.at; i >= 0 && i < len(p) {
		p = append([]byte(nil), p...)
		p[i] ^= 1
	}
	for len(p) > 0 && err == nil {
		part := p[:a.room(len(p))]
		var k int
		k, err = a.ResponseWriter.Write(part)
		a.at, n, p = a.at+k, n+k, p[k:]
		if a.q.Method == http.MethodGet && Blobs(a.q) {
			a.r.sent.Add(int64(k))
		}
	}
	return n, err
}

// room is how many of n bytes may go now. It does the harm that is due first.
func (a *answer) room(n int) int {
	if a.harm.Cut > 0 {
		if a.at >= a.harm.Cut {
			a.flush()
			panic(http.ErrAbortHandler)
		}
		n = min(n, a.harm.Cut-a.at)
	}
	if a.harm.Hold != nil {
		if a.at < a.harm.HoldAt {
			return min(n, a.harm.HoldAt-a.at)
		}
		a.flush()
		select {
		case <-a.harm.Hold:
		case <-a.q.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	return n
}

func (a *answer) flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }
