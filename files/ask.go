package files

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/resolver"
)

// errIll is of a source that answers, and has failed.
var errIll = errors.New("files: the source has failed")

// ask asks the source what it has, without the bytes. The answer is nil if only
// the request itself can tell: then it is to be relayed. An error is of a source
// that could not be asked, or that is ill.
func (f *Files) ask(ctx context.Context, q *request) (*answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an answer to GET may have more of a body than anybody wants
	resp, err := f.send(ctx, q, http.MethodHead, "")
	if err == nil && slices.Contains(noHead, resp.StatusCode) {
		_ = resp.Body.Close()
		resp, err = f.send(ctx, q, http.MethodGet, "bytes=0-0")
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	size := resp.ContentLength
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		size = wholeSize(resp.Header.Get("Content-Range"))
	case resp.StatusCode >= 500:
		return nil, errIll
	case resp.StatusCode != http.StatusOK:
		return nil, nil
	}
	return read(resp.Header, size, credentials(q.header) != "", time.Now()), nil
}

// noHead are the answers of sources that may not know HEAD, or for whose signed
// URLs it is another request.
var noHead = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented}

// send sends a request to the source, with a Range unless that is "".
func (f *Files) send(ctx context.Context, q *request, method, span string) (*http.Response, error) {
	r := resolver.FileRequest{Method: method, URL: q.url, Header: q.header, Stay: !q.download}
	if span != "" {
		r.Header = r.Header.Clone()
		r.Header.Set("Range", span)
	}
	return f.cfg.Resolver.Ask(ctx, r)
}

// wholeSize is the size that a Content-Range tells, or -1.
func wholeSize(contentRange string) int64 {
	_, total, _ := strings.Cut(contentRange, "/")
	n, err := strconv.ParseUint(total, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}
