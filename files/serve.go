package files

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/internal/delivery"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

// ServeHTTP answers a request with an absolute URL.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	entry := log.G(r.Context()).WithField("method", r.Method).WithField("url", resolver.Shown(r.URL))
	if err := f.serve(w, r, start); err != nil {
		e := answerOf(err)
		writeError(w, r, e)
		entry.WithField("status", e.Status).WithField("reason", e.Error()).Debug("refused")
		return
	}
	entry.WithField("took", time.Since(start)).Debug("served")
}

func (f *Files) serve(w http.ResponseWriter, r *http.Request, start time.Time) error {
	q, err := parse(r)
	if err != nil {
		if f.cfg.Relay != nil && r.Header.Get(HeaderGet) == "" { // for the source to refuse
			f.cfg.Relay.ServeHTTP(w, r)
			return nil
		}
		return err
	}
	if q.past || r.ContentLength != 0 || unusual(r.Header) {
		return f.relay(w, r, q)
	}
	const tries = 2 // a file may change just after its source was asked
	for try := 1; ; try++ {
		a, stale, err := f.answer(r, q)
		if err != nil {
			return err
		}
		if a == nil || !a.swarmable() {
			return f.relay(w, r, q)
		}
		err = f.deliver(w, r, q, a, stale, start)
		var e *oci.Error
		if try < tries && errors.As(err, &e) && e.Code == oci.CodeFileChanged {
			f.known.forget(q)
			continue
		}
		return err
	}
}

// unusual reports whether a request asks what only the source can answer.
func unusual(h http.Header) bool {
	return h.Get("If-Match") != "" || h.Get("If-Unmodified-Since") != "" || h.Get("Upgrade") != ""
}

// answer is what the source says of a file: what is known if that is fresh, else
// what it says now. If it cannot be asked, that is stale. A nil answer is one to
// relay.
func (f *Files) answer(r *http.Request, q *request) (a *answer, stale bool, err error) {
	a = f.known.get(q)
	now := time.Now()
	if a != nil && !q.download && a.isFresh(now) && !insists(r.Header) {
		return a, false, nil
	}
	said, err := f.ask(r.Context(), q)
	switch {
	case err != nil && r.Context().Err() == nil && a != nil && a.mayBeStale(now, f.cfg.StaleFor):
		log.G(r.Context()).WithError(err).WithField("url", resolver.Shown(q.url)).Warn("serving a file as it last was")
		return a, true, nil
	case errors.Is(err, errIll):
		return nil, false, nil // in its own words
	case err != nil:
		return nil, false, err
	case said == nil || !said.swarmable():
		f.known.forget(q)
		return said, false, nil
	}
	if err := f.known.put(q, said); err != nil {
		log.G(r.Context()).WithError(err).Warn("what the source of a file said cannot be kept for after a restart")
	}
	return said, false, nil
}

// insists reports whether a client wants the source to be asked (RFC 9111, section
// 5.2.1).
func insists(h http.Header) bool {
	c := strings.ToLower(strings.Join(h.Values("Cache-Control"), ","))
	return strings.Contains(c, "no-cache") || strings.Contains(c, "max-age=0") || strings.Contains(strings.ToLower(h.Get("Pragma")), "no-cache")
}

// deliver answers with a file out of the swarm.
func (f *Files) deliver(w http.ResponseWriter, r *http.Request, q *request, a *answer, stale bool, start time.Time) error {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if stale {
		h.Add("Warning", `110 shoal "Response is Stale"`) // RFC 7234, 5.5.1
		h.Add("Warning", `111 shoal "Revalidation Failed"`)
	}
	if age := a.ageAt(time.Now()); age >= time.Second {
		h.Set("Age", strconv.Itoa(int(age/time.Second)))
	}
	sent := false
	defer func() {
		if !sent {
			clear(h)
		}
	}()
	if unchanged(r.Header, a.version) {
		sent = true
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	span := delivery.Span{Length: a.size}
	if r.Method == http.MethodGet {
		var ok bool
		if span, ok = delivery.SpanOf(r, a.size, a.version.ETag, a.version.LastModified); !ok {
			sent = true
			delivery.Unsatisfiable(h, a.size)
			http.Error(w, "the range is outside the file", http.StatusRequestedRangeNotSatisfiable)
			return nil
		}
	}
	s := spec{
		URL: q.url.String(), Header: q.header, Filter: q.filter, Vary: a.vary, Private: a.secret,
		Version: a.version, Size: a.size, Digest: q.digest,
	}
	at := f.place(r, q, &s, span)
	h.Set(HeaderTask, s.id().String())
	if r.Method == http.MethodHead {
		sent = true
		span.WriteHeader(w, a.size)
		return nil
	}
	c, err := f.cfg.Node.Open(r.Context(), s.id(), newSource(f.cfg.Resolver, s, q.download && !q.keep))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Ready(r.Context(), at.Offset); err != nil {
		return err
	}
	f.cfg.Metrics.FirstByte.Observe(time.Since(start).Seconds())
	sent = true
	span.WriteHeader(w, a.size)
	if err := delivery.Copy(r.Context(), w, c, at, f.cfg.ClientStall); err != nil {
		entry := log.G(r.Context()).WithError(err).WithField("url", resolver.Shown(q.url))
		if delivery.ClientLeft(r.Context(), err) {
			entry.Debug("a client stopped reading")
		} else {
			entry.Warn("a file was cut short")
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// place says where a span of a file lies in the task that it comes from: in the
// whole, or in a range that is a task of its own.
func (f *Files) place(r *http.Request, q *request, s *spec, span delivery.Span) delivery.Span {
	if !span.Partial {
		return span
	}
	own := q.ownTask(r.Header.Get("Range"), span, s.Size)
	if !own.Partial {
		return span
	}
	if _, whole := f.cfg.Node.Stat(r.Context(), s.id()); whole {
		return span
	}
	s.Part = &part{Offset: own.Offset, Length: own.Length}
	return delivery.Span{Offset: span.Offset - own.Offset, Length: span.Length}
}

// ownTask is the range of a file that is the content which a span is asked of; the
// zero value if that is the whole. The rest of a file from some byte on is what
// clients ask for that go on with it, unless a download says otherwise.
func (q *request) ownTask(header string, span delivery.Span, size int64) delivery.Span {
	if q.resume != "" {
		began, ok := delivery.ParseRange(q.resume, size)
		if ok && began.Partial && began.Offset <= span.Offset && span.Offset+span.Length <= began.Offset+began.Length {
			return began
		}
		return delivery.Span{}
	}
	if q.download || !strings.HasSuffix(strings.TrimSpace(header), "-") {
		return span
	}
	return delivery.Span{}
}

// unchanged reports whether a client has the version already (RFC 9110, section
// 13.2.2).
func unchanged(h http.Header, v resolver.Version) bool {
	if tags := h.Get("If-None-Match"); tags != "" {
		return v.ETag != "" && delivery.Matches(tags, v.ETag)
	}
	since, err := http.ParseTime(h.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(v.LastModified)
	return err == nil && !modified.After(since)
}
