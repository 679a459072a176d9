package mirror

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// span is the part of some content that a client asked for.
type span struct {
	offset, length int64
	partial        bool // answer 206
}

// parseRange understands a Range header for content of size bytes (RFC 9110,
// section 14). A header that cannot be understood, or that asks for several
// ranges, is ignored: the whole is a right answer. ok is false if the range is
// outside the content.
func parseRange(header string, size int64) (s span, ok bool) {
	whole := span{length: size}
	unit, spec, found := strings.Cut(header, "=")
	switch {
	case !found, !strings.EqualFold(strings.TrimSpace(unit), "bytes"), strings.Contains(spec, ","):
		return whole, true
	case size == 0: // some clients add bytes=0- to everything
		return whole, true
	}
	first, last, found := strings.Cut(strings.TrimSpace(spec), "-")
	if !found {
		return whole, true
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if first == "" {
		n, err := parsePosition(last)
		if err != nil {
			return whole, true
		}
		if n = min(n, size); n == 0 {
			return span{}, false
		}
		return span{offset: size - n, length: n, partial: true}, true
	}
	from, err := parsePosition(first)
	if err != nil {
		return whole, true
	}
	to := size - 1
	if last != "" {
		end, err := parsePosition(last)
		if err != nil || end < from {
			return whole, true
		}
		to = min(to, end)
	}
	if from >= size {
		return span{}, false
	}
	return span{offset: from, length: to - from + 1, partial: true}, true
}

// parsePosition reads digits only; a number too large to hold is as good as
// the largest.
func parsePosition(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil && n != 0 { // out of range: n is the largest
		return int64(n), nil //nolint:nilerr // beyond every content
	}
	return int64(n), err
}

// spanOf decides what part of some content to answer with, and sets the
// headers that go with it. If there is none, the request has been answered.
func spanOf(w http.ResponseWriter, r *http.Request, size int64, etag string) (s span, ok bool) {
	header := r.Header.Get("Range")
	if cond := r.Header.Get("If-Range"); cond != "" && cond != etag {
		header = ""
	}
	s, ok = parseRange(header, size)
	if !ok {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		oci.Errorf(oci.SideClient, http.StatusRequestedRangeNotSatisfiable, oci.CodeRangeInvalid,
			"range %.80q is outside the content's %d bytes", header, size).WriteTo(w, r.Method)
		return s, false
	}
	return s, true
}

// writeHeader announces a part.
func (s span) writeHeader(w http.ResponseWriter, size int64) {
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(s.length, 10))
	if !s.partial {
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(s.offset, 10)+"-"+strconv.FormatInt(s.offset+s.length-1, 10)+"/"+strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusPartialContent)
}
