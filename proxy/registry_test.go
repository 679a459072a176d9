package proxy_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/proxy"
)

func TestBlobsAndManifestsOfRegistriesComeThroughTheMirror(t *testing.T) {
	for name, secure := range map[string]bool{"plain HTTP, which nobody has configured": false, "HTTPS that is opened": true} {
		t.Run(name, func(t *testing.T) {
			up, options := registrytest.New(t), []func(*proxy.Config){}
			if secure {
				up = registrytest.NewTLS(t)
				options = append(options, intercepting(t, `^127\.0\.0\.1:`, certOf(t, up.Server)))
			}
			blob := registrytest.Bytes(1, 300_000)
			dgst := up.PushBlob("app", blob)
			image, manifest := up.PushImage("app", "v1", [][]byte{blob})
			b := newBed(t, options...)
			client := b.client()

			got := b.get(client, up.URL+"/v2/app/blobs/"+dgst.String())
			require.NoError(t, got.err)
			require.Equal(t, http.StatusOK, got.StatusCode)
			require.Equal(t, string(blob), got.body)
			require.Eventually(t, func() bool { return b.store.Get(dgst) != nil }, time.Minute, time.Millisecond)
			sent := up.BlobBytes()
			got = b.get(client, up.URL+"/v2/app/blobs/"+dgst.String(), "Range", "bytes=10-19")
			require.Equal(t, http.StatusPartialContent, got.StatusCode)
			require.Equal(t, string(blob[10:20]), got.body)
			require.Equal(t, sent, up.BlobBytes(), "the registry was asked again")

			for _, ref := range []string{"v1", image.String()} {
				got = b.get(client, up.URL+"/v2/app/manifests/"+ref)
				require.Equal(t, string(manifest), got.body)
				require.Equal(t, image.String(), got.Header.Get("Docker-Content-Digest"))
			}
		})
	}
}

func TestEverythingElseOfARegistryGoesThere(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("app", "v1", nil)
	b := newBed(t, func(c *proxy.Config) {
		c.Files = func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a registry's answer was taken for a file") })
		}
	})
	client := b.client()
	require.Equal(t, http.StatusOK, b.get(client, up.URL+"/v2/").StatusCode)
	require.JSONEq(t, `{"name":"app","tags":["v1"]}`, b.get(client, up.URL+"/v2/app/tags/list").body)

	blob := registrytest.Bytes(2, 1000)
	dgst := digest.FromBytes(blob)
	b.store.Put(blob)
	exists := b.do(client, http.MethodHead, up.URL+"/v2/app/blobs/"+dgst.String(), nil)
	require.Equal(t, http.StatusNotFound, exists.StatusCode, "that the node has a blob does not mean that the repository has it")
	pushed := b.do(client, http.MethodPost, up.URL+"/v2/app/blobs/uploads/?digest="+dgst.String(), bytes.NewReader(blob), "Content-Type", "application/octet-stream")
	require.Equal(t, http.StatusCreated, pushed.StatusCode, pushed.body)
	exists = b.do(client, http.MethodHead, up.URL+"/v2/app/blobs/"+dgst.String(), nil)
	require.Equal(t, http.StatusOK, exists.StatusCode)
}

func TestAClientLogsInAtTheRegistryItself(t *testing.T) {
	up := registrytest.New(t)
	_, manifest := up.PushImage("app", "v1", nil)
	up.RequireToken("me", "secret")
	b := newBed(t)
	client := b.client()

	got := b.get(client, up.URL+"/v2/app/manifests/v1")
	require.Equal(t, http.StatusUnauthorized, got.StatusCode)
	require.Equal(t, up.Challenge("app"), got.Header.Get("WWW-Authenticate"))

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, up.URL+registrytest.TokenPath+"?service=test+registry&scope=repository:app:pull", nil)
	require.NoError(t, err)
	req.SetBasicAuth("me", "secret")
	given := b.get(client, req.URL.String(), "Authorization", req.Header.Get("Authorization"))
	require.Equal(t, http.StatusOK, given.StatusCode)
	token := regexp.MustCompile(`"token":\s*"([^"]+)"`).FindStringSubmatch(given.body)
	require.NotNil(t, token, given.body)

	got = b.get(client, up.URL+"/v2/app/manifests/v1", "Authorization", "Bearer "+token[1])
	require.Equal(t, string(manifest), got.body)
}

func TestWithoutARuleRegistriesAreAskedDirectly(t *testing.T) {
	up := registrytest.New(t)
	blob := registrytest.Bytes(1, 1000)
	dgst := up.PushBlob("app", blob)
	direct := everything[0]
	direct.Direct = true
	for name, rules := range map[string][]proxy.Rule{"none": nil, "direct": {direct, everything[0]}} {
		b := newBed(t, func(c *proxy.Config) { c.Rules = rules })
		require.Equal(t, string(blob), b.get(b.client(), up.URL+"/v2/app/blobs/"+dgst.String()).body, name)
		require.Nil(t, b.store.Get(dgst), name)
	}
}

func TestFilesAreHandedOn(t *testing.T) {
	o := origin(t, (*httptest.Server).Start)
	b := newBed(t, func(c *proxy.Config) {
		c.Files = func(relay http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/relay") {
					relay.ServeHTTP(w, r)
					return
				}
				w.Header().Set("X-Url", r.URL.String())
			})
		}
	})
	require.Equal(t, o.URL+"/file?x=1", b.get(b.client(), o.URL+"/file?x=1").Header.Get("X-Url"))
	require.Contains(t, b.get(b.client(), o.URL+"/relay|me").body, "GET /relay")
	require.Contains(t, b.do(b.client(), http.MethodPost, o.URL+"/file", strings.NewReader("x")).body, "POST /file")
}

func TestARedirectRuleChangesTheHost(t *testing.T) {
	o := origin(t, (*httptest.Server).Start)
	up := registrytest.New(t)
	blob := registrytest.Bytes(1, 1000)
	dgst := up.PushBlob("app", blob)
	b := newBed(t, func(c *proxy.Config) {
		c.Rules = []proxy.Rule{
			{Regexp: regexp.MustCompile(`^http://files\.example/`), Redirect: o.Listener.Addr().String()},
			{Regexp: regexp.MustCompile(`^http://registry\.example/`), Redirect: up.Host()},
		}
	})
	got := b.get(b.client(), "http://files.example/x")
	require.Contains(t, got.body, "Host: "+o.Listener.Addr().String())
	require.Equal(t, string(blob), b.get(b.client(), "http://registry.example/v2/app/blobs/"+dgst.String()).body)
}
