package resolver_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestBlobFromAnyOffset(t *testing.T) {
	up := registrytest.New(t)
	data := registrytest.Bytes(1, 100_000)
	r := ask(t, resolver.Config{}, plain(up))
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		dgst := up.PushBlob("team/app", data, alg)
		for _, ignore := range []bool{false, true} {
			up.Do(registrytest.Harm{IgnoreRange: ignore})
			for _, offset := range []int64{0, 1, 54_321, 99_999} {
				body, size, err := r.Blob(t.Context(), at(up), dgst, offset, 0)
				require.NoError(t, err)
				got, err := io.ReadAll(body)
				require.NoError(t, err)
				require.NoError(t, body.Close())
				require.Equal(t, int64(len(data)), size)
				require.True(t, bytes.Equal(data[offset:], got))
			}
		}
		size, err := r.StatBlob(t.Context(), at(up), dgst)
		require.NoError(t, err)
		require.Equal(t, int64(len(data)), size)
	}
}

func TestUnknownBlob(t *testing.T) {
	up := registrytest.New(t)
	up.PushBlob("team/app", []byte("something"))
	r := ask(t, resolver.Config{}, plain(up))
	_, _, err := r.Blob(t.Context(), at(up), digest.FromString("nothing"), 0, 0)
	e := asOCI(t, err)
	require.Equal(t, http.StatusNotFound, e.Status)
	require.Equal(t, oci.CodeBlobUnknown, e.Code)
	_, err = r.StatBlob(t.Context(), at(up), digest.FromString("nothing"))
	require.Equal(t, oci.CodeBlobUnknown, asOCI(t, err).Code)
}

func TestBlobIsAskedForOnce(t *testing.T) {
	up := registrytest.New(t)
	dgst := up.PushBlob("team/app", []byte("something"))
	up.Do(registrytest.Harm{Drop: true})
	_, _, err := ask(t, resolver.Config{}, plain(up)).Blob(t.Context(), at(up), dgst, 0, 0)
	require.Equal(t, http.StatusBadGateway, asOCI(t, err).Status)
	require.Len(t, up.Requests(""), 1)
}

func TestEncodedBlobIsRefused(t *testing.T) {
	up := registrytest.New(t)
	dgst := up.PushBlob("team/app", []byte("something"))
	r := ask(t, resolver.Config{}, plain(up))
	up.Do(registrytest.Harm{Encoding: "gzip"})
	_, _, err := r.Blob(t.Context(), at(up), dgst, 0, 0)
	require.Contains(t, asOCI(t, err).Message, "encodes blob")
	up.Do(registrytest.Harm{Encoding: "identity"})
	body, _, err := r.Blob(t.Context(), at(up), dgst, 0, 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())
}

func TestWrongRangeIsRefused(t *testing.T) {
	up := registrytest.New(t)
	r := ask(t, resolver.Config{}, plain(up))
	for _, contentRange := range []string{"", "bytes 0-8/9", "bytes 5-8/7", "bytes 5-4/9", "bytes -1-8/9", "lines 5-8/9"} {
		up.Do(registrytest.Harm{Status: http.StatusPartialContent, Header: http.Header{"Content-Range": {contentRange}}, Body: "hing"})
		_, _, err := r.Blob(t.Context(), at(up), digest.FromString("something"), 5, 0)
		require.Equal(t, http.StatusBadGateway, asOCI(t, err).Status, contentRange)
	}
}

func TestCutBlobEndsInAnError(t *testing.T) {
	up := registrytest.New(t)
	dgst := up.PushBlob("team/app", registrytest.Bytes(1, 100_000))
	up.Do(registrytest.Harm{Cut: 50_000})
	body, size, err := ask(t, resolver.Config{}, plain(up)).Blob(t.Context(), at(up), dgst, 0, 0)
	require.NoError(t, err)
	defer body.Close()
	require.Equal(t, int64(100_000), size)
	got, err := io.ReadAll(body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, got, 50_000)
}

func TestSilentBlobEndsInAnError(t *testing.T) {
	up := registrytest.New(t)
	dgst := up.PushBlob("team/app", registrytest.Bytes(1, 100_000))
	never := make(chan struct{})
	defer close(never)
	up.Do(registrytest.Harm{Hold: never, HoldAt: 50_000})
	body, _, err := ask(t, resolver.Config{StallTimeout: 50 * time.Millisecond}, plain(up)).Blob(t.Context(), at(up), dgst, 0, 0)
	require.NoError(t, err)
	defer body.Close()
	_, err = io.ReadAll(body)
	require.ErrorContains(t, err, "the upstream sent nothing for 50ms")
}

// redirected is a registry whose blobs are at another one.
func redirected(t *testing.T) (up, cdn *registrytest.Registry, dgst digest.Digest, data []byte) {
	up, cdn = registrytest.New(t), registrytest.New(t)
	data = registrytest.Bytes(2, 10_000)
	dgst = cdn.PushBlob("team/app", data)
	up.Do(registrytest.Harm{RedirectTo: cdn.URL})
	return up, cdn, dgst, data
}

func TestRedirectLeavesCredentialsBehind(t *testing.T) {
	up, cdn, dgst, data := redirected(t)
	repo := at(up)
	repo.Authorization = "Bearer secret"
	body, size, err := ask(t, resolver.Config{}, plain(up)).Blob(t.Context(), repo, dgst, 1000, 0)
	require.NoError(t, err)
	defer body.Close()
	got, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, int64(len(data)), size)
	require.Equal(t, data[1000:], got)
	require.Equal(t, "Bearer secret", up.Requests("")[0].Header.Get("Authorization"))
	there := cdn.Requests("")
	require.Len(t, there, 1)
	require.Empty(t, there[0].Header.Values("Authorization"))
	require.Empty(t, there[0].Header.Values("Referer"))
	require.Equal(t, "bytes=1000-", there[0].Header.Get("Range"))
}

func TestRedirectsToPlainHTTPAreRefused(t *testing.T) {
	up, cdn := registrytest.NewTLS(t), registrytest.New(t)
	dgst := cdn.PushBlob("team/app", []byte("something"))
	up.Do(registrytest.Harm{RedirectTo: cdn.URL})
	r := ask(t, resolver.Config{}, resolver.Registry{Host: up.Host(), Insecure: true})
	_, _, err := r.Blob(t.Context(), at(up), dgst, 0, 0)
	require.Contains(t, asOCI(t, err).Message, "from https to http")
	require.Empty(t, cdn.Requests(""))
}

func TestRedirectsAreBounded(t *testing.T) {
	up := registrytest.New(t)
	up.Do(registrytest.Harm{RedirectTo: up.URL})
	_, _, err := ask(t, resolver.Config{}, plain(up)).Blob(t.Context(), at(up), digest.FromString("x"), 0, 0)
	require.Contains(t, asOCI(t, err).Message, "more than 5 times")
	require.Len(t, up.Requests(""), 6)
}
