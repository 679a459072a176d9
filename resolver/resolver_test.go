package resolver_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask makes a resolver that reaches a registry.
func ask(t *testing.T, cfg resolver.Config, registries ...resolver.Registry) *resolver.Resolver {
	t.Helper()
	cfg.Registries = registries
	r, err := resolver.New(cfg)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

func plain(up *registrytest.Registry) resolver.Registry {
	return resolver.Registry{Host: up.Host(), PlainHTTP: true}
}

func at(up *registrytest.Registry) resolver.Repository {
	return resolver.Repository{Registry: up.Host(), Name: "team/app"}
}

// asOCI requires that an error is an upstream's, as clients get it.
func asOCI(t *testing.T, err error) *oci.Error {
	t.Helper()
	var e *oci.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, oci.SideUpstream, e.Side)
	return e
}

func TestPlainHTTPOnlyWhereConfigured(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("team/app", "v1", nil)
	_, err := ask(t, resolver.Config{}).Manifest(t.Context(), at(up), "v1", nil)
	e := asOCI(t, err)
	require.Equal(t, http.StatusBadGateway, e.Status)
	require.Contains(t, e.Message, "--plain-http")
	require.Empty(t, up.Requests(""))

	_, err = ask(t, resolver.Config{}, plain(up)).Manifest(t.Context(), at(up), "v1", nil)
	require.NoError(t, err)
}

func TestAClientMayChoosePlainHTTP(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("team/app", "v1", nil)
	file := filepath.Join(t.TempDir(), "login")
	require.NoError(t, os.WriteFile(file, []byte("me:secret"), 0o600))
	chosen := resolver.Repository{Registry: resolver.PlainHTTP(up.Host()), Name: "team/app"}
	for name, registries := range map[string][]resolver.Registry{
		"nobody configured it":                        nil,
		"it is configured likewise":                   {plain(up)},
		"it is configured as HTTPS, with credentials": {{Host: up.Host(), Credentials: file}},
	} {
		_, err := ask(t, resolver.Config{}, registries...).Manifest(t.Context(), chosen, "v1", nil)
		require.NoError(t, err, name)
	}
	up.RequireBasic("me", "secret")
	_, err := ask(t, resolver.Config{}, resolver.Registry{Host: up.Host(), Credentials: file}).Manifest(t.Context(), chosen, "v1", nil)
	require.True(t, oci.HasStatus(err, http.StatusUnauthorized), "the node's credentials went over plain HTTP")
	both := plain(up)
	both.Credentials = file
	_, err = ask(t, resolver.Config{}, both).Manifest(t.Context(), chosen, "v1", nil)
	require.NoError(t, err, "its operator says that they may")
}

func TestPatternsSayWhomToTrust(t *testing.T) {
	up := registrytest.NewTLS(t)
	up.PushImage("team/app", "v1", nil)
	pattern := func(re string, insecure bool) resolver.Pattern {
		return resolver.Pattern{Host: regexp.MustCompile(re), Insecure: insecure}
	}
	for name, c := range map[string]struct {
		patterns []resolver.Pattern
		ok       bool
	}{
		"none":                  {nil, false},
		"one that matches":      {[]resolver.Pattern{pattern(`^127\.0\.0\.1:\d+$`, true)}, true},
		"one that does not":     {[]resolver.Pattern{pattern(`^registry\.example:443$`, true)}, false},
		"the first that does":   {[]resolver.Pattern{pattern(`:`, false), pattern(`:`, true)}, false},
		"after one that didn't": {[]resolver.Pattern{pattern(`x`, false), pattern(`:`, true)}, true},
	} {
		_, err := ask(t, resolver.Config{Patterns: c.patterns}).Manifest(t.Context(), at(up), "v1", nil)
		require.Equal(t, c.ok, err == nil, "%s: %v", name, err)
	}
	_, err := resolver.New(resolver.Config{Patterns: []resolver.Pattern{{Host: regexp.MustCompile(`a`), CAFile: "/none"}}})
	require.ErrorContains(t, err, "resolver: proxy.hijack_https.hosts[0] (a): ca_file")
}

func TestNobodyIsReachedWhoIsRefused(t *testing.T) {
	up := registrytest.New(t)
	refused := errors.New("not there")
	r := ask(t, resolver.Config{Control: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		require.Equal(t, up.Host(), address)
		return refused
	}}, plain(up))
	_, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.Contains(t, asOCI(t, err).Message, "not there")
	require.Empty(t, up.Requests(""))
}

func TestHTTPSTrustsWhoIsConfigured(t *testing.T) {
	up := registrytest.NewTLS(t)
	up.PushImage("team/app", "v1", nil)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600))
	for name, c := range map[string]struct {
		registry resolver.Registry
		ok       bool
	}{
		"nobody":         {resolver.Registry{}, false},
		"the CA file":    {resolver.Registry{CAFile: ca}, true},
		"everybody":      {resolver.Registry{Insecure: true}, true},
		"another's host": {resolver.Registry{Host: "registry.example", Insecure: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.registry.Host == "" {
				c.registry.Host = up.Host()
			}
			_, err := ask(t, resolver.Config{}, c.registry).Manifest(t.Context(), at(up), "v1", nil)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.Contains(t, asOCI(t, err).Message, "certificate")
		})
	}
}

func TestConfigErrorsNameTheRegistry(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, registries := range map[string][]resolver.Registry{
		"registry a: ca_file":              {{Host: "a", CAFile: "/nonexistent"}},
		"holds no PEM certificate":         {{Host: "a", CAFile: empty}},
		"registry a: credentials":          {{Host: "a", Credentials: "/nonexistent"}},
		"neither one line":                 {{Host: "a", Credentials: empty}},
		"registry docker.io is configured": {{Host: "docker.io"}, {Host: "index.docker.io"}},
		"has no host":                      {{}},
	} {
		_, err := resolver.New(resolver.Config{Registries: registries})
		require.ErrorContains(t, err, name)
	}
}

func TestRefusalsKeepWhatClientsNeed(t *testing.T) {
	up := registrytest.New(t)
	r := ask(t, resolver.Config{}, plain(up))
	const body = `{"errors":[{"code":"%s","message":"says the registry"}]}`
	for _, c := range []struct {
		sent     int
		code     string
		header   http.Header
		status   int
		wantCode string
	}{
		{sent: 401, code: "UNAUTHORIZED", header: http.Header{"Www-Authenticate": {`Bearer realm="https://a.example/t",scope="x"`, "Basic"}}, status: 401, wantCode: oci.CodeUnauthorized},
		{sent: 403, code: "WHATEVER", status: 403, wantCode: oci.CodeDenied},
		{sent: 404, code: "NAME_UNKNOWN", status: 404, wantCode: oci.CodeNameUnknown},
		{sent: 404, code: "NOT_FOUND", status: 404, wantCode: oci.CodeManifestUnknown},
		{sent: 404, status: 404, wantCode: oci.CodeManifestUnknown},
		{sent: 429, header: http.Header{"Retry-After": {"17"}}, status: 429, wantCode: oci.CodeTooManyRequests},
		{sent: 500, code: "INTERNAL", status: 502, wantCode: "INTERNAL"},
		{sent: 503, status: 502, wantCode: oci.CodeUnavailable},
		{sent: 304, status: 502, wantCode: oci.CodeUnavailable},
		{sent: 418, status: 502, wantCode: oci.CodeUnavailable},
	} {
		h := registrytest.Harm{Status: c.sent, Header: c.header}
		if c.code != "" {
			h.Body = fmt.Sprintf(body, c.code)
		}
		up.Do(h)
		_, err := r.Manifest(t.Context(), at(up), "v1", nil)
		e := asOCI(t, err)
		require.Equal(t, c.status, e.Status, "%d", c.sent)
		require.Equal(t, c.wantCode, e.Code, "%d", c.sent)
		require.Contains(t, e.Message, up.Host())
		require.Equal(t, c.header.Values("Www-Authenticate"), e.Challenges)
		require.Equal(t, c.header.Get("Retry-After"), e.RetryAfter)
		if c.code != "" {
			require.Contains(t, e.Message, "says the registry")
		}
	}
}

func TestSilentUpstreamIsATimeout(t *testing.T) {
	up := registrytest.New(t)
	never := make(chan struct{})
	defer close(never)
	up.Do(registrytest.Harm{Hang: never})
	r := ask(t, resolver.Config{HeaderTimeout: 1}, plain(up))
	_, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.Equal(t, http.StatusGatewayTimeout, asOCI(t, err).Status)
	require.LessOrEqual(t, len(up.Requests("")), 1, "a timeout is not tried again")
}

func TestBrokenConnectionsAreTriedAgain(t *testing.T) {
	up := registrytest.New(t)
	up.Do(registrytest.Harm{Drop: true})
	r := ask(t, resolver.Config{}, plain(up))
	_, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.Equal(t, http.StatusBadGateway, asOCI(t, err).Status)
	require.Len(t, up.Requests(""), 3)
}

func TestLeavingClientEndsTheRequest(t *testing.T) {
	up := registrytest.New(t)
	never := make(chan struct{})
	defer close(never)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	up.Do(registrytest.Harm{Hang: never, Only: func(*http.Request) bool {
		cancel(left)
		return true
	}})
	_, err := ask(t, resolver.Config{}, plain(up)).Manifest(ctx, at(up), "v1", nil)
	require.ErrorIs(t, err, left)
}

func TestManifestPassesByteForByte(t *testing.T) {
	up := registrytest.New(t)
	dgst, body := up.PushImage("team/app", "v1", [][]byte{registrytest.Bytes(1, 100)})
	r := ask(t, resolver.Config{UserAgent: "test/1"}, plain(up))
	accept := []string{"application/vnd.oci.image.manifest.v1+json", "application/json;q=0.5"}
	for _, ref := range []string{"v1", dgst.String()} {
		m, err := r.Manifest(t.Context(), at(up), ref, accept)
		require.NoError(t, err)
		require.Equal(t, &resolver.Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: dgst, Size: int64(len(body)), Body: body}, m)
		m, err = r.StatManifest(t.Context(), at(up), ref, accept)
		require.NoError(t, err)
		require.Equal(t, &resolver.Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: dgst, Size: int64(len(body))}, m)
	}
	for _, q := range up.Requests("") {
		require.Equal(t, accept, q.Header.Values("Accept"))
		require.Equal(t, "test/1", q.Header.Get("User-Agent"))
		require.Equal(t, "identity", q.Header.Get("Accept-Encoding"))
	}
}

func TestManifestOfAnyType(t *testing.T) {
	up := registrytest.New(t)
	sha512 := up.PushManifest("team/app", "", ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), digest.SHA512)
	m, err := ask(t, resolver.Config{}, plain(up)).Manifest(t.Context(), at(up), sha512.String(), nil)
	require.NoError(t, err)
	require.Equal(t, sha512, m.Digest)
}

func TestWrongManifestBytesAreNamedSo(t *testing.T) {
	up := registrytest.New(t)
	dgst, body := up.PushImage("team/app", "v1", nil)
	up.Do(registrytest.Harm{Wrong: 10})
	r := ask(t, resolver.Config{}, plain(up))
	for _, ref := range []string{"v1", dgst.String()} {
		_, err := r.Manifest(t.Context(), at(up), ref, nil)
		e := asOCI(t, err)
		require.Equal(t, http.StatusBadGateway, e.Status)
		require.Equal(t, oci.CodeDigestInvalid, e.Code)
		require.Contains(t, e.Message, "wrong bytes")
	}
	// A registry that names no digest for a tag is believed.
	up.Do(registrytest.Harm{HideDigest: true})
	m, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.NoError(t, err)
	require.Equal(t, digest.FromBytes(body), m.Digest)
	m, err = r.StatManifest(t.Context(), at(up), "v1", nil)
	require.NoError(t, err)
	require.Empty(t, m.Digest)
}

func TestManifestIsBounded(t *testing.T) {
	up := registrytest.New(t)
	up.Do(registrytest.Harm{Status: 200, Body: string(make([]byte, oci.MaxManifest+1))})
	_, err := ask(t, resolver.Config{}, plain(up)).Manifest(t.Context(), at(up), "v1", nil)
	require.Contains(t, asOCI(t, err).Message, "larger than")
}

func TestPingSaysWhetherALoginIsWanted(t *testing.T) {
	up := registrytest.New(t)
	r := ask(t, resolver.Config{}, plain(up))
	whole := resolver.Repository{Registry: up.Host()}
	require.NoError(t, r.Ping(t.Context(), whole))
	up.RequireToken("user", "secret")
	e := asOCI(t, r.Ping(t.Context(), whole))
	require.Equal(t, http.StatusUnauthorized, e.Status)
	require.Equal(t, []string{up.Challenge("")}, e.Challenges)
	require.Len(t, up.Requests("^GET /v2/$"), 2)
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	repo := resolver.Repository{Registry: "registry.example", Name: "app", Authorization: "Bearer secret"}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q", repo, repo, repo, repo, repo), "secret")
}
