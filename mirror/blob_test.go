package mirror_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
)

func blobPath(dgst digest.Digest) string { return "/v2/team/app/blobs/" + dgst.String() }

// rangeCases are what RFC 9110 says of a content of 1000 bytes.
var rangeCases = []struct {
	header      string
	status      int
	first, last int
}{
	{"", 200, 0, 999},
	{"bytes=0-", 206, 0, 999},
	{"bytes=0-0", 206, 0, 0},
	{"bytes=10-19", 206, 10, 19},
	{"bytes=990-5000", 206, 990, 999},
	{"bytes=999-", 206, 999, 999},
	{"bytes=-7", 206, 993, 999},
	{"bytes=-5000", 206, 0, 999},
	{"bytes=-99999999999999999999", 206, 0, 999},
	{"bytes=0-99999999999999999999", 206, 0, 999},
	{"Bytes=5-6", 206, 5, 6},
	{"bytes=1000-", 416, 0, 0},
	{"bytes=1000-1001", 416, 0, 0},
	{"bytes=-0", 416, 0, 0},
	{"bytes=99999999999999999999-", 416, 0, 0},
	{"bytes=0-1,5-6", 200, 0, 999}, // several: the whole is a right answer
	{"bytes=6-5", 200, 0, 999},     // what follows cannot be understood
	{"bytes=", 200, 0, 999},
	{"bytes=-", 200, 0, 999},
	{"bytes=x-y", 200, 0, 999},
	{"bytes=+1-2", 200, 0, 999},
	{"bytes=1--2", 200, 0, 999},
	{"lines=1-2", 200, 0, 999},
	{"garbage", 200, 0, 999},
}

// requireRange requires the answer that a range of some data gets.
func requireRange(t *testing.T, a answer, data []byte, status, first, last int) {
	t.Helper()
	if status == http.StatusRequestedRangeNotSatisfiable {
		a.requireError(t, status, oci.CodeRangeInvalid)
		require.Equal(t, "bytes */1000", a.Header.Get("Content-Range"))
		return
	}
	require.NoError(t, a.err)
	require.Equal(t, status, a.StatusCode)
	require.Equal(t, data[first:last+1], a.body)
	require.Equal(t, int64(last-first+1), a.ContentLength)
	require.Equal(t, "bytes", a.Header.Get("Accept-Ranges"))
	want := ""
	if status == http.StatusPartialContent {
		want = fmt.Sprintf("bytes %d-%d/%d", first, last, len(data))
	}
	require.Equal(t, want, a.Header.Get("Content-Range"))
}

func TestBlobRanges(t *testing.T) {
	data := registrytest.Bytes(1, 1000)
	for _, warm := range []bool{false, true} {
		f := newFront(t)
		for i, c := range rangeCases {
			dgst := f.up.PushBlob("team/app", append(data[:990:990], fmt.Sprintf("%10d", i)...))
			mine := append(data[:990:990], fmt.Sprintf("%10d", i)...)
			if warm {
				f.store.Put(mine)
			}
			header := []string{"Range", c.header}
			if c.header == "" {
				header = nil
			}
			a := f.get(blobPath(dgst), header...)
			t.Logf("warm %v %q: %d", warm, c.header, a.StatusCode)
			requireRange(t, a, mine, c.status, c.first, c.last)
			if c.status != http.StatusRequestedRangeNotSatisfiable {
				require.Equal(t, "application/octet-stream", a.Header.Get("Content-Type"))
				require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
				require.Equal(t, `"`+dgst.String()+`"`, a.Header.Get("Etag"))
			}
		}
	}
}

func TestIfRange(t *testing.T) {
	f := newFront(t)
	data := registrytest.Bytes(1, 1000)
	dgst := f.store.Put(data)
	for condition, status := range map[string]int{
		`"` + dgst.String() + `"`:       206,
		`"another"`:                     200,
		`W/"` + dgst.String() + `"`:     200,
		"Tue, 24 Nov 2026 10:00:00 GMT": 200,
	} {
		require.Equal(t, status, f.get(blobPath(dgst), "Range", "bytes=1-2", "If-Range", condition).StatusCode, condition)
	}
}

func TestBlobsOfAllSizesAndAlgorithms(t *testing.T) {
	f := newFront(t)
	for _, size := range []int{0, 1, 1 << 20, 5<<20 + 7} {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			data := registrytest.Bytes(uint64(size), size)
			dgst := f.up.PushBlob("team/app", data, alg)
			for range 2 {
				a := f.get(blobPath(dgst), "Accept-Encoding", "gzip, zstd")
				require.NoError(t, a.err)
				require.Equal(t, http.StatusOK, a.StatusCode)
				require.True(t, bytes.Equal(data, a.body))
				require.Equal(t, int64(size), a.ContentLength)
				require.Empty(t, a.Header.Get("Content-Encoding"))
			}
		}
	}
	a := f.get(blobPath(digest.FromBytes(nil)), "Range", "bytes=0-")
	require.Equal(t, http.StatusOK, a.StatusCode, "nothing has no ranges, and clients ask for all of it")
}

func TestHeadOfAColdBlobFetchesNothing(t *testing.T) {
	f := newFront(t)
	data := registrytest.Bytes(1, 1000)
	dgst := f.up.PushBlob("team/app", data)
	a := f.ask(http.MethodHead, blobPath(dgst))
	require.Equal(t, http.StatusOK, a.StatusCode)
	require.Equal(t, int64(1000), a.ContentLength)
	require.Equal(t, dgst.String(), a.Header.Get("Docker-Content-Digest"))
	require.Equal(t, "bytes", a.Header.Get("Accept-Ranges"))
	require.Empty(t, f.up.Requests("GET"))
	f.store.Put(data)
	f.up.Do(registrytest.Harm{Status: 503})
	require.Equal(t, http.StatusOK, f.ask(http.MethodHead, blobPath(dgst)).StatusCode)
	require.Equal(t, http.StatusBadGateway, f.ask(http.MethodHead, blobPath(digest.FromString("x"))).StatusCode)
}

func TestEarlyFailuresOfBlobsAreStatuses(t *testing.T) {
	f := newFront(t)
	dgst := digest.FromString("nothing")
	f.get(blobPath(dgst)).requireError(t, http.StatusNotFound, oci.CodeBlobUnknown)
	require.Equal(t, http.StatusNotFound, f.ask(http.MethodHead, blobPath(dgst)).StatusCode)
	f.up.RequireToken("user", "secret")
	a := f.get(blobPath(dgst))
	a.requireError(t, http.StatusUnauthorized, oci.CodeUnauthorized)
	require.Equal(t, f.up.Challenge("team/app"), a.Header.Get("WWW-Authenticate"))
	f.up.Do(registrytest.Harm{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"9"}}})
	a = f.get(blobPath(dgst))
	a.requireError(t, http.StatusTooManyRequests, oci.CodeTooManyRequests)
	require.Equal(t, "9", a.Header.Get("Retry-After"))
	require.Empty(t, a.Header.Get("Etag"))
}

func TestWrongBytesNeverMakeAWholeBlob(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		f := newFront(t)
		data := registrytest.Bytes(1, size)
		dgst := f.up.PushBlob("team/app", data)
		f.up.Do(registrytest.Harm{Only: registrytest.Blobs, Wrong: size / 2})
		a := f.get(blobPath(dgst))
		if a.StatusCode == http.StatusOK {
			require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
			require.Less(t, len(a.body), size)
			continue
		}
		require.Contains(t, a.requireError(t, http.StatusBadGateway, oci.CodeDigestInvalid), "wrong bytes")
		require.Nil(t, f.store.Get(dgst))
	}
}

func TestLateFailureCutsTheConnection(t *testing.T) {
	f := newFront(t)
	data := registrytest.Bytes(1, 8<<20)
	dgst := f.up.PushBlob("team/app", data)
	hold := make(chan struct{})
	f.up.Do(registrytest.Harm{Only: registrytest.Blobs, Hold: hold, HoldAt: 4 << 20, Cut: 4 << 20})
	resp, err := http.Get(f.URL + blobPath(dgst))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "the first pieces are there")
	f.up.Do(registrytest.Harm{Status: http.StatusNotFound})
	close(hold)
	got, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.True(t, bytes.HasPrefix(data, got))
}

func TestManyRangesAreOneFill(t *testing.T) {
	f := newFront(t)
	data := registrytest.Bytes(1, 4<<20)
	dgst := f.up.PushBlob("team/app", data)
	const chunk = 512 << 10
	var wg sync.WaitGroup
	got := make([]byte, len(data))
	for i := 0; i < len(data); i += chunk {
		wg.Go(func() { // as containerd does: open-ended, and leave early
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+blobPath(dgst), nil)
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", i))
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			_, _ = io.ReadFull(resp.Body, got[i:i+chunk])
		})
	}
	wg.Wait()
	require.True(t, bytes.Equal(data, got))
	require.Equal(t, int64(len(data)), f.up.BlobBytes())
}

func TestClientThatReadsNothingIsCut(t *testing.T) {
	f := newFront(t, func(c *mirror.Config) { c.ClientStall = 100 * time.Millisecond })
	dgst := f.store.Put(registrytest.Bytes(1, 64<<20))
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: mirror\r\n\r\n", blobPath(dgst))
	require.NoError(t, err)
	<-f.done // it would not come while the mirror waits for the client
	n, err := io.Copy(io.Discard, conn)
	t.Logf("%d bytes came: %v", n, err)
	require.Less(t, n, int64(64<<20))
}

func TestFirstByteIsMeasured(t *testing.T) {
	f := newFront(t)
	dgst := f.up.PushBlob("team/app", []byte("layer"))
	f.get(blobPath(dgst))
	f.ask(http.MethodHead, blobPath(dgst))
	families, err := f.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "shoal_blob_first_byte_seconds" {
			require.Equal(t, uint64(1), family.GetMetric()[0].GetHistogram().GetSampleCount())
			return
		}
	}
	t.Fatal("there is no such metric")
}
