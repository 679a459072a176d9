package files

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

// conditions are the headers of a client that a relayed request keeps.
var conditions = []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}

// relay passes a request to the source, and its answer back as it is.
func (f *Files) relay(w http.ResponseWriter, r *http.Request, q *request) error {
	if !q.download && f.cfg.Relay != nil {
		f.cfg.Relay.ServeHTTP(w, r)
		return nil
	}
	header := q.header.Clone()
	for _, name := range conditions {
		if v := r.Header.Values(name); len(v) > 0 {
			header[name] = v
		}
	}
	resp, err := f.cfg.Resolver.Ask(r.Context(), resolver.FileRequest{Method: r.Method, URL: q.url, Header: header, Stay: !q.download})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := w.Header()
	for name, values := range forClient(resp.Header) {
		h[name] = values
	}
	for _, name := range []string{"Content-Range", "Accept-Ranges", "Age", "Warning"} {
		if v := resp.Header.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	for name := range resp.Trailer {
		h.Add("Trailer", name)
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(flushing{w, http.NewResponseController(w)}, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // the client must not take it for the whole
	}
	for name, values := range resp.Trailer {
		h[name] = values
	}
	return nil
}

// flushing passes on what comes when it comes.
type flushing struct {
	io.Writer
	control *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		_ = f.control.Flush()
	}
	return n, err
}

// answerOf is the error that a client gets.
func answerOf(err error) *oci.Error {
	var e *oci.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return oci.Errorf(oci.SideClient, 499, oci.CodeUnavailable, "the client left")
	case errors.Is(err, context.DeadlineExceeded):
		return oci.Errorf(oci.SideUpstream, http.StatusGatewayTimeout, oci.CodeUnavailable, "no answer in time")
	}
	return oci.Errorf(oci.SideStore, http.StatusInternalServerError, oci.CodeUnavailable, "%v", err)
}

// writeError answers in words.
func writeError(w http.ResponseWriter, r *http.Request, e *oci.Error) {
	h, status := w.Header(), e.Status // e may be a task's, which others read
	h.Set(HeaderError, "temporary")
	if e.Code == oci.CodeUnreachable || e.Code == oci.CodeUnsupported {
		h.Set(HeaderError, "final")
	}
	for _, c := range e.Challenges {
		h.Add("WWW-Authenticate", c)
	}
	if e.RetryAfter != "" {
		h.Set("Retry-After", e.RetryAfter)
	}
	if e.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD")
	}
	if e.Status == http.StatusPreconditionFailed { // ours, of a file that changes all the time
		status = http.StatusBadGateway
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	http.Error(w, string(e.Side)+": "+e.Message, status)
}
