package proxy

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const aDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func rule(pattern string) Rule { return Rule{Regexp: regexp.MustCompile(pattern)} }

// askOf is what choose is asked for a request with that target.
func askOf(t testing.TB, uri string) (*url.URL, string) {
	t.Helper()
	u, err := url.Parse(uri)
	require.NoError(t, err)
	u, err = parseURL(u)
	require.NoError(t, err)
	return u, pathOf(uri)
}

func TestTheFirstRuleThatMatchesCounts(t *testing.T) {
	direct := rule(`^http://a\.example/direct/`)
	direct.Direct = true
	secure := rule(`^http://a\.example/secure/`)
	secure.UseHTTPS = true
	elsewhere := rule(`^https?://moved\.example/`)
	elsewhere.Redirect = "b.example:8080"
	both := rule(`^http://both\.example:81/`)
	both.UseHTTPS, both.Redirect, both.Direct = true, "b.example:443", true
	rules := []Rule{direct, secure, elsewhere, both, rule(`\.example/`), rule(`.`)}
	for uri, want := range map[string]struct {
		way way
		to  string
	}{
		"http://a.example/direct/x":              {relayed, "http://a.example/direct/x"},
		"http://a.example/secure/x?y":            {filed, "https://a.example/secure/x?y"},
		"http://moved.example/x":                 {filed, "http://b.example:8080/x"},
		"https://moved.example:443/x":            {filed, "https://b.example:8080/x"},
		"http://both.example:81/":                {relayed, "https://b.example/"},
		"http://c.example/x":                     {filed, "http://c.example/x"},
		"HTTP://C.Example:80/x":                  {filed, "http://c.example/x"},
		"http://c.example":                       {filed, "http://c.example"},
		"http://c.example/v2/a/blobs/" + aDigest: {mirrored, "http://c.example/v2/a/blobs/" + aDigest},
		"http://other/":                          {filed, "http://other/"},
	} {
		u, path := askOf(t, uri)
		way, to := choose(rules, http.MethodGet, u, path)
		require.Equal(t, want.way, way, uri)
		require.Equal(t, want.to, to.String(), uri)
	}
}

func TestWithoutARuleThatMatchesNothingChanges(t *testing.T) {
	u, path := askOf(t, "https://a.example/v2/a/manifests/latest")
	for _, rules := range [][]Rule{nil, {rule(`^http://a`)}} {
		way, to := choose(rules, http.MethodGet, u, path)
		require.Equal(t, relayed, way)
		require.Same(t, u, to)
	}
}

func TestWhatTheMirrorAnswers(t *testing.T) {
	for request, want := range map[string]way{
		"GET /v2/a/b/blobs/" + aDigest:             mirrored,
		"GET /v2/a/manifests/" + aDigest:           mirrored,
		"GET /v2/a/manifests/latest":               mirrored,
		"HEAD /v2/a/manifests/latest":              mirrored,
		"HEAD /v2/a/blobs/" + aDigest:              relayed, // does this repository have it?
		"GET /v2/a/blobs/" + aDigest + "?ns=other": relayed, // of a mirror elsewhere
		"GET /v2/a%2Fb/blobs/" + aDigest:           relayed,
		"GET /v2/a/blobs/sha256:1":                 relayed,
		"GET /v2/A/manifests/latest":               relayed,
		"GET /v2/":                                 relayed,
		"GET /v2/_catalog":                         relayed,
		"GET /v2/a/tags/list":                      relayed,
		"GET /v2/a/referrers/" + aDigest:           relayed,
		"GET /v2/a/blobs/uploads/1":                relayed,
		"PUT /v2/a/manifests/latest":               relayed,
		"POST /v2/a/blobs/uploads/":                relayed,
		"GET /x/v2/a/manifests/latest":             filed,
		"GET /token?scope=a":                       filed,
		"HEAD /x":                                  filed,
		"POST /x":                                  relayed,
		"DELETE /x":                                relayed,
	} {
		method, path, _ := strings.Cut(request, " ")
		u, target := askOf(t, "https://r.example"+path)
		way, _ := choose([]Rule{rule(`^https://r\.example/`)}, method, u, target)
		require.Equal(t, want, way, request)
	}
}

func TestRulesSeeTheTargetAsItWasWritten(t *testing.T) {
	u, target := askOf(t, "http://a.example/x%2Fy?z=%41")
	for pattern, want := range map[string]way{`/x%2Fy\?z=%41$`: filed, `/x/y`: relayed, `z=A`: relayed} {
		way, _ := choose([]Rule{rule(pattern)}, http.MethodGet, u, target)
		require.Equal(t, want, way, pattern)
	}
}

func FuzzRules(f *testing.F) {
	f.Add("GET", "http://a.example/x?y=z", "b.example:8080", true)
	f.Add("HEAD", "https://[::1]:443/v2/a/blobs/"+aDigest, "", false)
	f.Fuzz(func(t *testing.T, method, uri, redirect string, useHTTPS bool) {
		u, err := url.Parse(uri)
		if err != nil {
			return
		}
		if u, err = parseURL(u); err != nil {
			return
		}
		way, to := choose([]Rule{{Regexp: regexp.MustCompile(`.`), Redirect: redirect, UseHTTPS: useHTTPS}}, method, u, pathOf(uri))
		if way != relayed && method != http.MethodGet && method != http.MethodHead {
			t.Fatalf("%s is taken for a read", method)
		}
		if useHTTPS && to.Scheme != "https" || redirect == "" && withoutPort(to.Scheme, u.Host) != to.Host || to.Path != u.Path {
			t.Fatalf("%s becomes %s", u, to)
		}
	})
}
