package get

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer is a response with headers "Name: value".
func answer(status int, length int64, headers ...string) *http.Response {
	h := http.Header{}
	for _, s := range headers {
		name, value, _ := strings.Cut(s, ": ")
		h.Set(name, value)
	}
	return &http.Response{StatusCode: status, ContentLength: length, Header: h, Body: io.NopCloser(strings.NewReader("so it is\nand more"))}
}

func parsed(t *testing.T, s string) Range {
	if s == "" {
		return Range{}
	}
	r, err := ParseRange(s)
	require.NoError(t, err)
	return r
}

const tag = `Etag: "1"`

func TestAnswersAreUnderstood(t *testing.T) {
	one := content{Validator: `"1"`, Size: 100}
	for name, c := range map[string]struct {
		resp   *http.Response
		wanted string
		offset int64
		have   content
		want   answered
		err    string // "changed", or a piece of the text
	}{
		"whole":                  {resp: answer(200, 100, tag), want: answered{content: one, fresh: true}},
		"whole, unknown size":    {resp: answer(200, -1), want: answered{content: content{Size: -1}, fresh: true}},
		"transformed":            {resp: answer(203, 100, tag), want: answered{content: one, fresh: true}},
		"no content":             {resp: answer(204, 0), err: "no file"},
		"nobody asked for parts": {resp: answer(206, 10, "Content-Range: bytes 0-9/100"), err: "not asked for"},

		"range":            {resp: answer(206, 10, tag, "Content-Range: bytes 5-14/100"), wanted: "5-14", want: answered{content: content{`"1"`, 5, 10}, fresh: true}},
		"range, past end":  {resp: answer(206, 5, tag, "Content-Range: bytes 95-99/100"), wanted: "95-200", want: answered{content: content{`"1"`, 95, 5}, fresh: true}},
		"range, no total":  {resp: answer(206, 5, tag, "Content-Range: bytes 95-99/*"), wanted: "95-200", want: answered{content: content{`"1"`, 95, 5}, fresh: true}},
		"tail, no total":   {resp: answer(206, 5, tag, "Content-Range: bytes 95-99/*"), wanted: "-5", want: answered{content: content{`"1"`, 95, 5}, fresh: true}},
		"tail":             {resp: answer(206, 5, tag, "Content-Range: bytes 95-99/100"), wanted: "-5", want: answered{content: content{`"1"`, 95, 5}, fresh: true}},
		"other range":      {resp: answer(206, 10, "Content-Range: bytes 6-15/100"), wanted: "5-14", err: "not asked for"},
		"shorter range":    {resp: answer(206, 9, "Content-Range: bytes 5-13/100"), wanted: "5-14", err: "not asked for"},
		"longer, no total": {resp: answer(206, 9, "Content-Range: bytes 5-15/*"), wanted: "5-14", err: "not asked for"},
		"several ranges":   {resp: answer(206, 100, "Content-Type: multipart/byteranges"), wanted: "5-14", err: "no sense"},

		"cut from the whole":     {resp: answer(200, 100, tag), wanted: "5-14", want: answered{content: content{`"1"`, 5, 10}, skip: 5, fresh: true}},
		"cut, unknown size":      {resp: answer(200, -1, tag), wanted: "5-14", want: answered{content: content{`"1"`, 5, 10}, skip: 5, fresh: true}},
		"cut open, unknown size": {resp: answer(200, -1, tag), wanted: "5-", want: answered{content: content{`"1"`, 5, -1}, skip: 5, fresh: true}},
		"cut tail":               {resp: answer(200, 100, tag), wanted: "-5", want: answered{content: content{`"1"`, 95, 5}, skip: 95, fresh: true}},
		"cut tail, unknown size": {resp: answer(200, -1, tag), wanted: "-5", err: "neither ranges nor"},
		"nothing to cut":         {resp: answer(200, 100, tag), wanted: "100-", err: "none of them in the range"},

		"continued":             {resp: answer(206, 90, tag, "Content-Range: bytes 10-99/100"), offset: 10, have: one, want: answered{content: one}},
		"continued, no ETag":    {resp: answer(206, 90, "Content-Range: bytes 10-99/100"), offset: 10, have: one, want: answered{content: one}},
		"continued, size found": {resp: answer(206, 90, "Content-Range: bytes 10-99/100"), offset: 10, have: content{`"1"`, 0, -1}, want: answered{content: one}},
		"range continued":       {resp: answer(206, 5, tag, "Content-Range: bytes 10-14/100"), wanted: "5-14", offset: 5, have: content{`"1"`, 5, 10}, want: answered{content: content{`"1"`, 5, 10}}},
		"tail continued":        {resp: answer(206, 3, tag, "Content-Range: bytes 97-99/100"), wanted: "-5", offset: 2, have: content{`"1"`, 95, 5}, want: answered{content: content{`"1"`, 95, 5}}},
		"tail of a longer file": {resp: answer(206, 3, tag, "Content-Range: bytes 97-99/101"), wanted: "-5", offset: 2, have: content{`"1"`, 95, 5}, err: "changed"},
		"continued elsewhere":   {resp: answer(206, 91, tag, "Content-Range: bytes 9-99/100"), offset: 10, have: one, err: "changed"},
		"continued too short":   {resp: answer(206, 89, tag, "Content-Range: bytes 10-98/100"), offset: 10, have: one, err: "changed"},
		"continued, other size": {resp: answer(206, 91, tag, "Content-Range: bytes 10-100/101"), offset: 10, have: one, err: "changed"},
		"continued, other ETag": {resp: answer(206, 90, `Etag: "2"`, "Content-Range: bytes 10-99/100"), offset: 10, have: one, err: "changed"},
		"continued, other date": {resp: answer(206, 90, "Last-Modified: x", "Content-Range: bytes 10-99/100"), offset: 10, have: content{"y", 0, 100}, err: "changed"},

		"anew":                       {resp: answer(200, 50, `Etag: "2"`), offset: 10, have: one, want: answered{content: content{`"2"`, 0, 50}, fresh: true}},
		"no ranges, same version":    {resp: answer(200, 100, tag), offset: 10, have: one, want: answered{content: one, skip: 10}},
		"no ranges, range continued": {resp: answer(200, 100, tag), wanted: "5-14", offset: 3, have: content{`"1"`, 5, 10}, want: answered{content: content{`"1"`, 5, 10}, skip: 8}},
		"same ETag, other size":      {resp: answer(200, 101, tag), offset: 10, have: one, want: answered{content: content{`"1"`, 0, 101}, fresh: true}},
	} {
		got, err := read(c.resp, parsed(t, c.wanted), c.offset, c.have)
		switch c.err {
		case "":
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
		case "changed":
			require.ErrorIs(t, err, errChanged, name)
		default:
			require.ErrorContains(t, err, c.err, name)
			require.NotEqual(t, Other, KindOf(err), name)
		}
	}
}

func TestValidatorsAreStrong(t *testing.T) {
	const old, now = "Last-Modified: Thu, 26 Nov 2026 10:00:00 GMT", "Date: Thu, 26 Nov 2026 10:00:01 GMT"
	for want, headers := range map[string][]string{
		`"1"`:                           {tag, old, now},
		"Thu, 26 Nov 2026 10:00:00 GMT": {`Etag: W/"1"`, old, now},
	} {
		require.Equal(t, want, validator(answer(200, 0, headers...).Header))
	}
	for _, headers := range [][]string{
		{},
		{`Etag: W/"1"`},
		{"Etag: 1"},
		{old},
		{old, "Date: Thu, 26 Nov 2026 10:00:00 GMT"},
		{old, "Date: yesterday"},
		{"Last-Modified: yesterday", now},
	} {
		require.Empty(t, validator(answer(200, 0, headers...).Header), headers)
	}
}

func TestWhichRefusalsMayPass(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status  int
		headers []string
		kind    Kind
		again   time.Duration
		text    string
	}{
		{404, nil, Refused, -1, "404 Not Found"},
		{403, []string{"Content-Type: text/plain"}, Refused, -1, "403 Forbidden"},
		{304, nil, Refused, -1, "304 Not Modified"},
		{429, []string{"Retry-After: 7"}, Refused, 7 * time.Second, "429"},
		{503, []string{"Retry-After: Thu, 26 Nov 2026 10:00:09 GMT"}, Unreachable, 9 * time.Second, "503"},
		{503, []string{"Retry-After: Thu, 26 Nov 2026 09:00:00 GMT"}, Unreachable, 0, "503"},
		{503, []string{"Retry-After: 3600"}, Unreachable, -1, "503"},
		{503, []string{"Retry-After: soon"}, Unreachable, 0, "503"},
		{501, nil, Unreachable, -1, "501"},
		{502, []string{"Content-Type: text/plain; charset=utf-8"}, Unreachable, 0, "502 Bad Gateway: so it is"},
		{502, []string{"Content-Type: text/html"}, Unreachable, 0, "502 Bad Gateway"},
		{599, nil, Unreachable, -1, "599"},
	} {
		err := refused(answer(c.status, -1, c.headers...), now)
		require.Equal(t, c.kind, KindOf(err), c)
		require.ErrorContains(t, err, c.text)
		require.NotContains(t, err.Error(), "and more")
		var r *refusal
		require.True(t, errors.As(err, &r))
		require.Equal(t, c.again, r.again, c)
	}
	require.NotContains(t, refused(answer(403, -1, "Content-Type: text/plain"), now).Error(), "so it is")
}

func TestAStaleAnswerIsToldOf(t *testing.T) {
	require.Contains(t, warning(answer(200, 0, `Warning: 111 shoal "Revalidation Failed"`, "Age: 3700").Header), "1h1m40s ago")
	require.Contains(t, warning(answer(200, 0, `Warning: 110 - "Response is Stale"`).Header), "does not answer")
	require.Empty(t, warning(answer(200, 0, `Warning: 214 - "Transformation Applied"`).Header))
	require.Empty(t, warning(answer(200, 0, "Age: 5").Header))
}

func FuzzRead(f *testing.F) {
	f.Add(200, int64(100), "", `"1"`, "5-14", int64(0), int64(100))
	f.Add(206, int64(10), "bytes 10-99/100", `"1"`, "", int64(10), int64(100))
	f.Fuzz(func(t *testing.T, status int, length int64, span, etag, wanted string, offset, size int64) {
		r, err := ParseRange(wanted)
		if err != nil {
			r = Range{}
		}
		if size < -1 || offset < 0 || size >= 0 && offset > size || length < -1 {
			return
		}
		got, err := read(answer(status, length, "Etag: "+etag, "Content-Range: "+span), r, offset, content{`"1"`, max(r.first, 0), size})
		if err == nil {
			require.GreaterOrEqual(t, got.skip, int64(0))
			require.GreaterOrEqual(t, got.Size, int64(-1))
			require.GreaterOrEqual(t, got.Base, int64(0))
		}
	})
}
