package mirror_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
)

func manifestPath(ref string) string { return "/v2/team/app/manifests/" + ref }

const staleWarning = `110 - "Response is Stale"`

func TestManifestByTagAndDigest(t *testing.T) {
	f := newFront(t)
	dgst, body := f.up.PushImage("team/app", "v1", [][]byte{{1}})
	for _, ref := range []string{"v1", dgst.String(), "v1"} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			a := f.ask(method, manifestPath(ref), "Accept-Encoding", "gzip")
			require.Equal(t, http.StatusOK, a.StatusCode)
			require.Equal(t, ocispec.MediaTypeImageManifest, a.Header.Get("Content-Type"))
			require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
			require.Equal(t, int64(len(body)), a.ContentLength)
			require.Equal(t, "bytes", a.Header.Get("Accept-Ranges"))
			require.Empty(t, a.Header.Get("Content-Encoding"))
			require.Empty(t, a.Header.Get("Warning"))
			if method == http.MethodGet {
				require.Equal(t, body, a.body)
			}
		}
	}
	require.Len(t, f.up.Requests("GET .*/manifests/"), 1, "a digest is fetched once")
	require.Len(t, f.up.Requests("HEAD .*/manifests/v1"), 4, "a tag is asked every time")
}

func TestManifestsOfAnyTypePassByteForByte(t *testing.T) {
	for mediaType, body := range map[string]string{
		"application/vnd.docker.distribution.manifest.list.v2+json": `{ "schemaVersion" : 2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json", "manifests":[]}` + "\n",
		"application/vnd.oci.artifact.manifest.v1+json":             `{"blobs":[]}`,
		"application/vnd.example+cbor":                              "\xa1\x00\xff",
	} {
		f := newFront(t)
		dgst := digest.SHA512.FromString(body)
		f.up.Do(registrytest.Harm{Status: 200, Body: body, Header: http.Header{"Content-Type": {mediaType}}})
		for range 2 {
			a := f.get(manifestPath(dgst.String()), "Accept", "application/vnd.example+cbor")
			require.Equal(t, mediaType, a.Header.Get("Content-Type"))
			require.Equal(t, body, string(a.body))
			require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
		}
		require.Equal(t, "application/vnd.example+cbor", f.up.Requests("GET")[0].Header.Get("Accept"))
	}
}

func TestManifestRangesAndConditions(t *testing.T) {
	f := newFront(t)
	body := append([]byte(`{"mediaType":"application/vnd.oci.image.index.v1+json"}`), make([]byte, 1000-55)...)
	require.Len(t, body, 1000)
	for i := range body[55:] {
		body[55+i] = ' '
	}
	dgst := digest.FromBytes(body)
	f.up.Do(registrytest.Harm{Status: 200, Body: string(body), Header: http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}})
	for _, c := range rangeCases {
		header := []string{"Range", c.header}
		if c.header == "" {
			header = nil
		}
		requireRange(t, f.get(manifestPath(dgst.String()), header...), body, c.status, c.first, c.last)
	}
	for condition, status := range map[string]int{
		`"` + dgst.String() + `"`:        304,
		`"x", W/"` + dgst.String() + `"`: 304,
		`*`:                              304,
		`"x"`:                            200,
	} {
		require.Equal(t, status, f.get(manifestPath(dgst.String()), "If-None-Match", condition).StatusCode, condition)
	}
}

func TestUnknownManifest(t *testing.T) {
	f := newFront(t)
	f.up.PushImage("team/app", "v1", nil)
	f.get(manifestPath("v2")).requireError(t, http.StatusNotFound, oci.CodeManifestUnknown)
	f.get(manifestPath(digest.FromString("x").String())).requireError(t, http.StatusNotFound, oci.CodeManifestUnknown)
	require.Equal(t, http.StatusNotFound, f.ask(http.MethodHead, manifestPath("v2")).StatusCode)
}

func TestWrongManifestBytes(t *testing.T) {
	f := newFront(t)
	dgst, _ := f.up.PushImage("team/app", "v1", nil)
	f.up.Do(registrytest.Harm{Wrong: 3})
	msg := f.get(manifestPath(dgst.String())).requireError(t, http.StatusBadGateway, oci.CodeDigestInvalid)
	require.Contains(t, msg, "sent wrong bytes")
	f.get(manifestPath("v1")).requireError(t, http.StatusBadGateway, oci.CodeDigestInvalid)
}

func TestUpstreamsThatDoNotKnowHead(t *testing.T) {
	f := newFront(t)
	dgst, body := f.up.PushImage("team/app", "v1", nil)
	head := func(q *http.Request) bool { return q.Method == http.MethodHead }
	for _, h := range []registrytest.Harm{
		{Only: head, Status: http.StatusMethodNotAllowed},
		{HideDigest: true},
	} {
		f.up.Do(h)
		a := f.ask(http.MethodHead, manifestPath("v1"))
		require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
		require.Equal(t, int64(len(body)), a.ContentLength)
		require.Equal(t, body, f.get(manifestPath("v1")).body)
	}
}

func TestConcurrentClientsCauseOneFetch(t *testing.T) {
	f := newFront(t)
	dgst, body := f.up.PushImage("team/app", "v1", nil)
	came, hang := make(chan struct{}), make(chan struct{})
	f.up.Do(registrytest.Harm{Hang: hang, Only: func(q *http.Request) bool {
		close(came) // a second time would panic
		return true
	}})
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		wg.Go(func() { answers[i] = f.get(manifestPath(dgst.String())) })
	}
	<-came
	close(hang)
	wg.Wait()
	for _, a := range answers {
		require.Equal(t, body, a.body)
	}
	require.Len(t, f.up.Requests("GET"), 1)
}

func TestStaleManifestsWhileTheUpstreamIsIll(t *testing.T) {
	f := newFront(t)
	dgst, body := f.up.PushImage("team/app", "v1", nil)
	require.Equal(t, body, f.get(manifestPath("v1")).body)
	for name, h := range map[string]registrytest.Harm{
		"5xx":         {Status: 503},
		"unreachable": {Drop: true},
		"busy":        {Status: 429},
	} {
		f.up.Do(h)
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			a := f.ask(method, manifestPath("v1"))
			require.Equal(t, http.StatusOK, a.StatusCode, name)
			require.Equal(t, staleWarning, a.Header.Get("Warning"))
			require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
		}
		require.Equal(t, body, f.get(manifestPath("v1")).body)
		require.Equal(t, body, f.get(manifestPath(dgst.String())).body)
		require.GreaterOrEqual(t, f.get(manifestPath("v9")).StatusCode, 429, "what was never seen")
	}
	for _, status := range []int{401, 403, 404} {
		f.up.Do(registrytest.Harm{Status: status})
		require.Equal(t, status, f.get(manifestPath("v1")).StatusCode, "a no is a no")
	}
	f.up.Do(registrytest.Harm{})
	require.Empty(t, f.get(manifestPath("v1")).Header.Get("Warning"))
}

func TestStaleManifestsAreForAWhile(t *testing.T) {
	f := newFront(t, tinyStale)
	f.up.PushImage("team/app", "v1", nil)
	require.Equal(t, http.StatusOK, f.get(manifestPath("v1")).StatusCode)
	f.up.Do(registrytest.Harm{Status: 503})
	require.Equal(t, http.StatusBadGateway, f.get(manifestPath("v1")).StatusCode)
}

func TestKeptManifestsAreForThoseWhoMayReadThem(t *testing.T) {
	f := newFront(t)
	dgst, body := f.up.PushImage("team/app", "v1", nil)
	f.up.RequireBasic("user", "secret")
	const good, bad = "Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjp3cm9uZw=="
	paths := []string{manifestPath("v1"), manifestPath(dgst.String())}
	for _, path := range paths {
		require.Equal(t, body, f.get(path, "Authorization", good).body)
	}
	refused := func(want int) {
		t.Helper()
		for _, path := range paths {
			require.Equal(t, want, f.get(path).StatusCode)
			require.Equal(t, want, f.get(path, "Authorization", bad).StatusCode)
			require.Equal(t, want, f.ask(http.MethodHead, path, "Authorization", bad).StatusCode)
		}
	}
	refused(http.StatusUnauthorized)
	f.up.Do(registrytest.Harm{Status: 503})
	refused(http.StatusBadGateway)
	for _, path := range paths {
		require.Equal(t, body, f.get(path, "Authorization", good).body)
	}
	// The same bytes by way of a registry that cannot be asked.
	require.Equal(t, http.StatusBadGateway, f.get(paths[1]+"?ns=127.0.0.1:1", "Authorization", good).StatusCode)
}

func TestManifestsOutliveTheMirror(t *testing.T) {
	store := &kept{}
	persist := func(c *mirror.Config) { c.Manifests = store }
	f := newFront(t, persist)
	dgst, body := f.up.PushImage("team/app", "v1", nil)
	require.Equal(t, body, f.get(manifestPath("v1")).body)

	f = frontFor(t, f.up, persist)
	a := f.get(manifestPath(dgst.String()))
	require.Equal(t, body, a.body)
	require.Equal(t, ocispec.MediaTypeImageManifest, a.Header.Get("Content-Type"))
	require.Len(t, f.up.Requests("GET .*/manifests/"), 1, "the bytes come out of the store")

	store.bodies[dgst] = []byte("rotten")
	f = frontFor(t, f.up, persist)
	require.Equal(t, body, f.get(manifestPath(dgst.String())).body)
	require.Len(t, f.up.Requests("GET .*/manifests/"), 2)
}

func TestStoreKeepsOnlyWhatNamesItsType(t *testing.T) {
	store := &kept{}
	f := newFront(t, func(c *mirror.Config) { c.Manifests = store })
	f.up.Do(registrytest.Harm{Status: 200, Body: `{"blobs":[]}`, Header: http.Header{"Content-Type": {"application/vnd.example+json"}}})
	require.Equal(t, http.StatusOK, f.get(manifestPath("v1")).StatusCode)
	require.Empty(t, store.bodies)
}
