package files

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestOneContentHasOneURL(t *testing.T) {
	for _, urls := range [][]string{
		{"http://a.example/", "http://a.example", "http://A.example:80/", "http://user:secret@a.example/#part"},
		{"https://a.example/x?b=1&c=2", "https://a.example:443/x?b=1&sig=3&c=2", "https://a.example/x?sig=4&b=1&c=2", "https://a.example/x?b=1&%73ig=5&c=2&sig"},
		{"https://a.example/x%2Fy?b=%20", "https://a.example/x%2Fy?b=%20"},
	} {
		for _, u := range urls {
			require.Equal(t, contentURL(urls[0], []string{"sig"}), contentURL(u, []string{"sig"}))
		}
	}
	different := []string{"http://a.example/", "https://a.example/", "http://a.example:81/", "http://a.example/x", "http://a.example/?x", "http://a.example/x%2Fy", "http://a.example/x/y", "http://a.example/?b&a", "http://a.example/?a&b"}
	seen := map[string]bool{}
	for _, u := range different {
		seen[contentURL(u, nil)] = true
	}
	require.Len(t, seen, len(different))
}

func TestIDsDependOnWhatNamesContent(t *testing.T) {
	base := spec{
		URL: "https://a.example/x", Header: http.Header{"Authorization": {"secret"}, "Accept-Language": {"de"}, "User-Agent": {"a"}},
		Version: resolver.Version{ETag: `"1"`}, Size: 10,
	}
	same, ids := base, map[digest.Digest]bool{base.id(): true}
	same.Header = http.Header{"Authorization": {"other"}, "User-Agent": {"b"}}
	require.Equal(t, base.id(), same.id(), "what everybody may read")
	for _, change := range []func(*spec){
		func(s *spec) { s.Version.ETag = `"2"` },
		func(s *spec) { s.Size = 11 },
		func(s *spec) { s.Part = &part{0, 5} },
		func(s *spec) { s.Part = &part{1, 5} },
		func(s *spec) { s.Private = true },
		func(s *spec) { s.Private, s.Header = true, http.Header{"Cookie": {"secret"}} },
		func(s *spec) { s.Vary = []string{"Accept-Language"} },
		func(s *spec) { s.URL += "?y" },
		func(s *spec) { s.Version = resolver.Version{LastModified: "yesterday"} },
	} {
		s := base
		change(&s)
		ids[s.id()] = true
		again, err := decode(s.encode(), s.id())
		require.NoError(t, err)
		require.Equal(t, s.id(), again.id())
		_, err = decode(s.encode(), piece.FileID("something else"))
		require.Error(t, err)
	}
	require.Len(t, ids, 10)
	dgst := digest.FromString("content")
	base.Digest = dgst
	require.Equal(t, dgst, base.id())
}

func TestAnswersAreFreshForAsLongAsTheySay(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		header       http.Header
		fresh, stale time.Duration // until when, with an hour of staleness
	}{
		{http.Header{}, 0, time.Hour},
		{http.Header{"Cache-Control": {"max-age=60"}}, time.Minute, time.Hour + time.Minute},
		{http.Header{"Cache-Control": {"max-age=60, s-maxage=120"}}, 2 * time.Minute, time.Hour + 2*time.Minute},
		{http.Header{"Cache-Control": {"max-age=60"}, "Age": {"40"}}, 20 * time.Second, time.Hour + 20*time.Second},
		{http.Header{"Cache-Control": {"max-age=60, must-revalidate"}}, time.Minute, 0},
		{http.Header{"Cache-Control": {"max-age=60, no-cache"}}, 0, 0},
		{http.Header{"Cache-Control": {"max-age=60", "stale-if-error=30"}}, time.Minute, 90 * time.Second},
		{http.Header{"Cache-Control": {"max-age=60, stale-if-error=0"}}, time.Minute, time.Minute},
		{http.Header{"Expires": {at(time.Minute)}, "Date": {at(0)}}, time.Minute, time.Hour + time.Minute},
		{http.Header{"Expires": {at(-time.Minute)}, "Date": {at(0)}}, 0, time.Hour},
		{http.Header{"Expires": {"0"}}, 0, time.Hour},
		{http.Header{"Cache-Control": {"max-age=nonsense"}}, 0, time.Hour},
	} {
		a := read(c.header, 1, false, now)
		for _, d := range []time.Duration{-time.Second, 0} {
			require.Equal(t, d < 0 && c.fresh > 0, a.isFresh(now.Add(c.fresh+d)), "%v", c.header)
			require.Equal(t, d < 0 && c.stale > 0, a.mayBeStale(now.Add(c.stale+d), time.Hour), "%v", c.header)
		}
	}
}

func TestAUserInTheURLIsRefused(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "https://user:secret@a.example/x", nil)
	require.NoError(t, err)
	_, err = parse(r)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func FuzzDecode(f *testing.F) {
	s := spec{URL: "https://a.example/x", Version: resolver.Version{ETag: `"1"`}, Size: 10, Part: &part{1, 2}}
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, file string) {
		s, err := decode(file, piece.FileID("x"))
		if err == nil {
			t.Fatalf("%+v is not what was asked for", s)
		}
		if _, err := decode(file, s.id()); err == nil && (s.Size < 0 || !strings.HasPrefix(s.URL, "http")) {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add("a=1&sig=2&b", "sig,%61")
	f.Fuzz(func(t *testing.T, query, names string) {
		filter, err := parseFilter([]string{names})
		if err != nil {
			return
		}
		got := filtered(query, filter)
		if filtered(got, filter) != got || len(got) > len(query) {
			t.Fatalf("%q without %q is %q", query, filter, got)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add("max-age=1, private", "Accept, *", "12", "Thu, 26 Nov 2026 10:00:00 GMT")
	f.Fuzz(func(t *testing.T, control, vary, age, expires string) {
		now := time.Now()
		a := read(http.Header{"Cache-Control": {control}, "Vary": {vary}, "Age": {age}, "Expires": {expires}}, 1, false, now)
		if a.isFresh(now) && a.rules.NoCachePresent || a.fresh < 0 || a.age < 0 || a.shared && strings.TrimSpace(vary) == "*" {
			t.Fatalf("%+v", a)
		}
	})
}
