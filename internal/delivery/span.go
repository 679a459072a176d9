package delivery

import (
	"net/http"
	"strconv"
	"strings"
)

// Span is the part of some content that a client asked for.
type Span struct {
	Offset, Length int64
	Partial        bool // answer 206
}

// ParseRange understands a Range header for content of size bytes (RFC 9110,
// section 14). A header that cannot be understood, or that asks for several
// ranges, is ignored: the whole is a right answer. ok is false if the range is
// outside the content.
func ParseRange(header string, size int64) (s Span, ok bool) {
	whole := Span{Length: size}
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
			return Span{}, false
		}
		return Span{Offset: size - n, Length: n, Partial: true}, true
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
		return Span{}, false
	}
	return Span{Offset: from, Length: to - from + 1, Partial: true}, true
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

// SpanOf decides what part of some content of size bytes to answer a GET with. tag
// is the content's entity tag, modified its Last-Modified; either may be "". ok is
// false if the part is outside the content: see [Unsatisfiable].
func SpanOf(r *http.Request, size int64, tag, modified string) (s Span, ok bool) {
	header := r.Header.Get("Range")
	switch cond := r.Header.Get("If-Range"); {
	case cond == "":
	case strings.HasPrefix(cond, `"`) && cond == tag:
	case !strings.Contains(cond, `"`) && cond == modified:
	default:
		header = ""
	}
	return ParseRange(header, size)
}

// Unsatisfiable says in the headers of a 416 how large the content is.
func Unsatisfiable(h http.Header, size int64) {
	h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
}

// WriteHeader announces a part of content of size bytes.
func (s Span) WriteHeader(w http.ResponseWriter, size int64) {
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(s.Length, 10))
	if !s.Partial {
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(s.Offset, 10)+"-"+strconv.FormatInt(s.Offset+s.Length-1, 10)+"/"+strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusPartialContent)
}

// Matches reports whether an If-None-Match header names an entity tag.
func Matches(header, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, t := range strings.Split(header, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == tag && tag != "" || t == "*" {
			return true
		}
	}
	return false
}
