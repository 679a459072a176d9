package mirror

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestTargets(t *testing.T) {
	const sum = "sha256:" + hex64
	for _, c := range []struct {
		url  string
		want target
	}{
		{"/v2/", target{registry: "registry.example"}},
		{"/v2", target{registry: "registry.example"}},
		{"/v2/?ns=a.example", target{registry: "a.example"}},
		{"/a.example/v2", target{registry: "a.example", prefix: "/a.example"}},
		{"/v2/app/manifests/v1", target{kind: manifest, registry: "registry.example", name: "app", ref: "v1"}},
		{"/v2/app/manifests/v2", target{kind: manifest, registry: "registry.example", name: "app", ref: "v2"}},
		{"/v2/v2/manifests/v2", target{kind: manifest, registry: "registry.example", name: "v2", ref: "v2"}},
		{"/v2/a/v2/b/manifests/v1", target{kind: manifest, registry: "registry.example", name: "a/v2/b", ref: "v1"}},
		{"/v2/manifests/blobs/manifests/blobs", target{kind: manifest, registry: "registry.example", name: "manifests/blobs", ref: "blobs"}},
		{"/v2/a__b/c--d/e.f/manifests/_x", target{kind: manifest, registry: "registry.example", name: "a__b/c--d/e.f", ref: "_x"}},
		{"/v2/app/manifests/" + sum, target{kind: manifest, registry: "registry.example", name: "app", ref: sum, digest: sum}},
		{"/v2/app/blobs/" + sum, target{kind: blob, registry: "registry.example", name: "app", ref: sum, digest: sum}},
		{"/v2/app/blobs/sha512:" + hex64 + hex64, target{kind: blob, registry: "registry.example", name: "app", ref: "sha512:" + hex64 + hex64, digest: "sha512:" + hex64 + hex64}},
		{"/v2/app/referrers/" + sum, target{kind: referrers, registry: "registry.example", name: "app", ref: sum, digest: sum}},
		{"/v2/app/tags/list", target{kind: tags, registry: "registry.example", name: "app"}},
		{"/v2/app/tags/list?ns=127.0.0.1%3A5000", target{kind: tags, registry: "127.0.0.1:5000", name: "app"}},
		{"/v2/app/tags/list?ns=[::1]:5000", target{kind: tags, registry: "[::1]:5000", name: "app"}},
		{"/v2/app/tags/list?ns=[fe80::1]", target{kind: tags, registry: "[fe80::1]", name: "app"}},
		{"/[::1]:5000/v2/app/tags/list", target{kind: tags, registry: "[::1]:5000", name: "app", prefix: "/[::1]:5000"}},
		{"/a.example:443/v2/app/tags/list", target{kind: tags, registry: "a.example:443", name: "app", prefix: "/a.example:443"}},
		{"/a.example/v2/app/tags/list?ns=b.example", target{kind: tags, registry: "b.example", name: "app", prefix: "/a.example"}},
		{"/v2/alpine/tags/list?ns=docker.io", target{kind: tags, registry: "docker.io", name: "library/alpine"}},
		{"/v2/alpine/tags/list?ns=index.docker.io", target{kind: tags, registry: "docker.io", name: "library/alpine"}},
		{"/v2/alpine/tags/list?ns=Registry-1.Docker.io", target{kind: tags, registry: "docker.io", name: "library/alpine"}},
		{"/v2/team/app/tags/list?ns=docker.io", target{kind: tags, registry: "docker.io", name: "team/app"}},
		{"/v2/alpine/tags/list?ns=docker.io.example", target{kind: tags, registry: "docker.io.example", name: "alpine"}},
	} {
		u, err := url.Parse(c.url)
		require.NoError(t, err)
		got, e := parseTarget(u, "registry.example")
		require.Nil(t, e, c.url)
		require.Equal(t, c.want, got, c.url)
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/v2/app/manifests/v1?ns=docker.io", "/a:5000/v2/x/y/blobs/sha256:" + hex64, "//v2/../x", "/v2/%2e%2e/tags/list"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		got, e := parseTarget(u, "registry.example")
		if e != nil {
			if e.Status/100 != 4 || e.Code == "" || e.Side != oci.SideClient {
				t.Fatalf("%q: %v", s, e)
			}
			return
		}
		if !validHost(got.registry) || strings.ContainsAny(got.registry, "/?#@ ") || strings.Contains(got.name, "..") || strings.Contains(got.ref, "/") || len(got.ref) > 256 {
			t.Fatalf("%q: %+v", s, got)
		}
		if got.kind != ping && !nameGrammar.MatchString(got.name) {
			t.Fatalf("%q: name %q", s, got.name)
		}
		up := url.URL{Scheme: "https", Host: got.registry, Path: "/v2/" + got.name + "/manifests/" + got.ref}
		if back, err := url.Parse(up.String()); err != nil || back.Host != got.registry || back.Path != up.Path {
			t.Fatalf("%q goes up as %q", s, up.String())
		}
	})
}

func TestPageOfTags(t *testing.T) {
	all := []string{"a", "b", "c"}
	for _, c := range []struct {
		n    int
		last string
		cut  []string
		more bool
	}{
		{-1, "", all, false},
		{3, "", all, false},
		{2, "", all[:2], true},
		{2, "a", all[1:], false},
		{1, "a", all[1:2], true},
		{0, "", all[:0], false},
		{2, "c", all[3:], false},
		{2, "unknown", all[:2], true},
	} {
		cut, more := page(all, c.n, c.last)
		require.Equal(t, c.cut, cut, "%+v", c)
		require.Equal(t, c.more, more, "%+v", c)
	}
}

func TestGrantsAreForOneCredentialAndRepository(t *testing.T) {
	g := newGrants(2)
	now := time.Unix(1000, 0)
	repo := resolver.Repository{Registry: "a", Name: "b", Authorization: "c"}
	require.False(t, g.within(repo, time.Hour, now))
	g.give(repo, now)
	require.True(t, g.within(repo, time.Hour, now.Add(59*time.Minute)))
	require.False(t, g.within(repo, time.Hour, now.Add(time.Hour)))
	for _, other := range []resolver.Repository{{Registry: "a", Name: "b"}, {Registry: "a", Name: "x", Authorization: "c"}, {Registry: "x", Name: "b", Authorization: "c"}, {Registry: "ab", Authorization: "c"}} {
		require.False(t, g.within(other, time.Hour, now), "%#v", other)
	}
	g.give(resolver.Repository{Name: "1"}, now)
	g.give(resolver.Repository{Name: "2"}, now)
	require.False(t, g.within(repo, time.Hour, now), "they are bounded")
}

func TestWhatAnOlderAnswerStandsInFor(t *testing.T) {
	for _, c := range []struct {
		err  *oci.Error
		want bool
	}{
		{oci.Errorf(oci.SideUpstream, 502, oci.CodeUnavailable, ""), true},
		{oci.Errorf(oci.SideUpstream, 504, oci.CodeUnavailable, ""), true},
		{oci.Errorf(oci.SideUpstream, 429, oci.CodeTooManyRequests, ""), true},
		{oci.Errorf(oci.SideUpstream, 404, oci.CodeManifestUnknown, ""), false},
		{oci.Errorf(oci.SideUpstream, 401, oci.CodeUnauthorized, ""), false},
		{oci.Errorf(oci.SideUpstream, 403, oci.CodeDenied, ""), false},
		{oci.Errorf(oci.SideUpstream, 502, oci.CodeUnauthorized, ""), false}, // the node's own credentials
		{oci.Errorf(oci.SideUpstream, 502, oci.CodeDigestInvalid, ""), false},
		{oci.Errorf(oci.SideStore, http.StatusInternalServerError, oci.CodeUnavailable, ""), false},
	} {
		require.Equal(t, c.want, papersOver(c.err), "%v", c.err)
	}
}

func TestDigestsOfTheSpecAreKnown(t *testing.T) {
	require.True(t, digest.SHA256.Available())
	require.True(t, digest.SHA512.Available())
}
