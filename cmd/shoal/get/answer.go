package get

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// content is what is known of the content that an output shall have.
type content struct {
	Validator string `json:"validator"` // "": nothing vouches for a part of it
	Base      int64  `json:"base"`
	Size      int64  `json:"size"` // -1 if unknown
}

// from is the Range header for the content from an offset on.
func (c content) from(offset int64) string {
	if c.Size < 0 {
		return fmt.Sprintf("bytes=%d-", c.Base+offset)
	}
	return fmt.Sprintf("bytes=%d-%d", c.Base+offset, c.Base+c.Size-1)
}

// validator is what If-Range can recognise the content by (RFC 9110, 13.1.5): a
// date that is not older than the answer may stand for two versions.
func validator(h http.Header) string {
	if etag := h.Get("Etag"); strings.HasPrefix(etag, `"`) {
		return etag
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	if date, err := http.ParseTime(h.Get("Date")); err != nil || date.Sub(modified) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

// contradicts says whether an answer is certainly of another version.
func (c content) contradicts(h http.Header) bool {
	now := h.Get("Last-Modified")
	if strings.HasPrefix(c.Validator, `"`) {
		now = h.Get("Etag")
	}
	return now != "" && now != c.Validator
}

// errChanged: what an output holds is not of the content that the source has now.
var errChanged = errors.New("the file changed at the source")

// answered is what an answer gives.
type answered struct {
	content
	skip  int64 // so many bytes of the body are not wanted
	fresh bool  // the content begins anew, at its first byte
}

// read understands a successful answer to a request for a range of a file, of
// which offset bytes are there that belong to have. errChanged: ask again, from
// the start.
func read(resp *http.Response, wanted Range, offset int64, have content) (answered, error) {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNonAuthoritativeInfo:
		return readWhole(resp, wanted, offset, have)
	case http.StatusPartialContent:
		return readPart(resp, wanted, offset, have)
	}
	return answered{}, failed(Refused, "the source answers %s, which is no file", status(resp))
}

// readWhole understands an answer with the whole file, from which a range is cut
// if the source does not know ranges.
func readWhole(resp *http.Response, wanted Range, offset int64, have content) (answered, error) {
	if wanted.kind == tail && resp.ContentLength < 0 {
		return answered{}, failed(Refused, "the source knows neither ranges nor how long the file is, so that its last bytes cannot be told")
	}
	base, size, ok := wanted.of(resp.ContentLength)
	if !ok {
		return answered{}, failed(Refused, "the file has %d bytes, none of them in the range %s", resp.ContentLength, wanted)
	}
	now := content{validator(resp.Header), base, size}
	if offset > 0 && now == have && now.Validator != "" {
		return answered{content: now, skip: base + offset}, nil
	}
	return answered{content: now, skip: base, fresh: true}, nil
}

func readPart(resp *http.Response, wanted Range, offset int64, have content) (answered, error) {
	first, last, total, ok := contentRange(resp.Header.Get("Content-Range"))
	if !ok {
		return answered{}, failed(Unreachable, "the source answers with a range that makes no sense: %q", cut(printable(resp.Header.Get("Content-Range")), 100))
	}
	if offset > 0 {
		wants := have.Size
		if base, size, ok := wanted.of(total); total >= 0 && (!ok || base != have.Base || wants >= 0 && size != wants) {
			return answered{}, errChanged
		} else if total >= 0 {
			wants = size
		}
		if have.contradicts(resp.Header) || first != have.Base+offset || wants >= 0 && last != have.Base+wants-1 {
			return answered{}, errChanged
		}
		have.Size = wants
		return answered{content: have}, nil
	}
	base, size, ok := wanted.of(total)
	if total < 0 { // it says what it sends
		base, size, ok = first, last-first+1, wanted.kind == tail || first == wanted.first && last <= wanted.last
	}
	if wanted.kind == whole || !ok || first != base || last != base+size-1 {
		return answered{}, failed(Unreachable, "the source answers with bytes %d to %d, which were not asked for", first, last)
	}
	return answered{content: content{validator(resp.Header), base, size}, fresh: true}, nil
}

// refusal is the error of an answer that is no success.
type refusal struct {
	error
	status int
	again  time.Duration // to be asked again after it; 0: when we like; below 0: not at all
}

func (r *refusal) Unwrap() error { return r.error }

// maxPatience is how long a source may make us wait.
const maxPatience = 2 * time.Minute

func refused(resp *http.Response, now time.Time) error {
	kind := Unreachable
	if resp.StatusCode < 500 {
		kind = Refused
	}
	whose, why := resp.Header.Get("Shoal-Error"), saying(resp)
	r := &refusal{failed(kind, "it answers %s%s", status(resp), why), resp.StatusCode, -1}
	if whose != "" && why != "" { // the engine answers: the source has not
		r.error = failed(kind, "%s", strings.TrimPrefix(why, ": "))
	}
	if whose == "final" {
		return r
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if r.again = retryAfter(resp.Header.Get("Retry-After"), now); r.again > maxPatience {
			r.again = -1
		}
	}
	return r
}

// retryAfter reads seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

func status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", http.StatusText(resp.StatusCode)))
}

// saying is the first line of an agent's answer that says why the source could
// not be reached. A source's own refusal may repeat what was sent to it.
func saying(resp *http.Response) string {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	ours := resp.Header.Get("Shoal-Error") != "" || resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout
	if err != nil || kind != "text/plain" || !ours {
		return ""
	}
	start, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	line, _, _ := strings.Cut(strings.TrimSpace(string(start)), "\n")
	if line = printable(strings.TrimSpace(line)); line == "" {
		return ""
	}
	return ": " + line
}

// warning is what a stale answer is to be told with; "" if it is not stale.
func warning(h http.Header) string {
	code, _, _ := strings.Cut(h.Get("Warning"), " ")
	if code != "110" && code != "111" {
		return ""
	}
	text := "the source does not answer; this is the file as the swarm had it"
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		text += fmt.Sprintf(" %s ago", time.Duration(age)*time.Second)
	}
	return text
}
