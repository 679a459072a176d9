package delivery

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIfRangeNamesWhatIsThere(t *testing.T) {
	const tag, modified = `"a"`, "Thu, 26 Nov 2026 10:00:00 GMT"
	for cond, partial := range map[string]bool{
		"": true, tag: true, modified: true,
		`"b"`: false, `W/"a"`: false, "Thu, 26 Nov 2026 10:00:01 GMT": false, "a": false,
	} {
		r := &http.Request{Header: http.Header{"Range": {"bytes=3-"}, "If-Range": {cond}}}
		s, ok := SpanOf(r, 10, tag, modified)
		require.True(t, ok)
		require.Equal(t, partial, s.Partial, cond)
	}
	weak := &http.Request{Header: http.Header{"Range": {"bytes=3-"}, "If-Range": {`W/"a"`}}}
	s, _ := SpanOf(weak, 10, `W/"a"`, "")
	require.False(t, s.Partial, "weak tags do not tell bytes apart")
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=3-99", "bytes=1-2,3-4", "bytes=9-1", "bytes=-0"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		s, ok := ParseRange(header, size)
		switch {
		case !ok:
			if size == 0 || s != (Span{}) {
				t.Fatalf("%q of %d: %+v", header, size, s)
			}
		case s.Offset < 0 || s.Length < 0 || s.Offset > size-s.Length || !s.Partial && s != (Span{Length: size}) || s.Partial && s.Length == 0:
			t.Fatalf("%q of %d: %+v", header, size, s)
		}
	})
}

func FuzzMatches(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Fuzz(func(t *testing.T, header, etag string) {
		if Matches(header, `"`+etag+`"`) && !strings.Contains(header, etag) && !strings.Contains(header, "*") {
			t.Fatal("matches nothing that is there")
		}
	})
}
