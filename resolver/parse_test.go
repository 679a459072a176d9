package resolver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRetryDecision(t *testing.T) {
	broken := errors.New("connection reset by peer")
	for _, c := range []struct {
		try    int
		err    error
		jitter float64
		wait   time.Duration
		ok     bool
	}{
		{try: 0, err: broken, wait: 25 * time.Millisecond, ok: true},
		{try: 0, err: broken, jitter: 0.5, wait: 50 * time.Millisecond, ok: true},
		{try: 1, err: broken, wait: 50 * time.Millisecond, ok: true},
		{try: 2, err: broken},
		{try: 0, err: fmt.Errorf("dial: %w", os.ErrDeadlineExceeded)},
		{try: 0, err: context.Canceled},
		{try: 0, err: errRedirect},
	} {
		wait, ok := again(c.try, c.err, c.jitter)
		require.Equal(t, c.ok, ok, "%v", c)
		require.Equal(t, c.wait, wait, "%v", c)
	}
}

func TestNextLink(t *testing.T) {
	for header, want := range map[string]string{
		`</v2/app/tags/list?n=2&last=b>; rel="next"`:              "/v2/app/tags/list?n=2&last=b",
		`<https://a.example/x?last=a,b>;rel=next`:                 "https://a.example/x?last=a,b",
		`</first>; rel="first", </second>; title="x"; rel="next"`: "/second",
		`</one>; rel="prev"`:                                      "",
		`</v2/app/tags/list; rel="next"`:                          "",
		``:                                                        "",
		`<`:                                                       "",
		`</a>, </b>; REL="NEXT"`:                                  "/b",
		`</v2/app/tags/list?last=rel%3Dnext>; rel="prev"; a="next"`: "",
	} {
		require.Equal(t, want, nextLink([]string{header}), header)
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(`</v2/app/tags/list?n=2&last=b>; rel="next"`)
	f.Add(`</first>; rel="first", </second>; rel="next"`)
	f.Fuzz(func(t *testing.T, header string) {
		if next := nextLink([]string{header}); !strings.Contains(header, "<"+next+">") && next != "" {
			t.Fatalf("%q is not in %q", next, header)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes 9-5/10", "bytes -1-5/10", "bytes 0-9223372036854775808/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, err := parseContentRange(s)
		if err != nil {
			return
		}
		if first < 0 || last < first || size >= 0 && last >= size || size < -1 {
			t.Fatalf("%q: %d-%d/%d", s, first, last, size)
		}
		total := "*"
		if size >= 0 {
			total = fmt.Sprint(size)
		}
		again := fmt.Sprintf("bytes %d-%d/%s", first, last, total)
		f2, l2, s2, err := parseContentRange(again)
		if err != nil || f2 != first || l2 != last || s2 != size {
			t.Fatalf("%q is read as %q", s, again)
		}
	})
}

func FuzzParseCredentials(f *testing.F) {
	f.Add([]byte("user:password"), "a")
	f.Add([]byte(`{"auths":{"a":{"auth":"dXNlcjpwYXNz"}}}`), "a")
	f.Fuzz(func(t *testing.T, data []byte, host string) {
		user, password, err := ParseCredentials(data, host)
		if err != nil && user+password != "" {
			t.Fatal("an error with credentials")
		}
	})
}
