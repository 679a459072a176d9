package mirror_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
)

// receiver remembers what it is told.
type receiver struct {
	mu   sync.Mutex
	told []told
}

type told struct {
	mediaType string
	dgst      digest.Digest
	body      string
	origin    p2p.Origin
}

func (r *receiver) Receive(_ context.Context, mediaType string, dgst digest.Digest, body []byte, source func(digest.Digest) p2p.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, told{mediaType, dgst, string(body), source(dgst).Origin()})
}

func TestAReceiverHearsWhatAContainerdOnThisMachineGets(t *testing.T) {
	up := registrytest.New(t)
	dgst, body := up.PushImage("team/app", "1", [][]byte{registrytest.Bytes(1, 100)})
	r := &receiver{}
	f := frontFor(t, up, func(c *mirror.Config) { c.Receiver = r })
	ns := "?ns=" + url.QueryEscape(up.Host())
	for _, quiet := range [][]string{
		{http.MethodHead, "/v2/team/app/manifests/1" + ns, "User-Agent", "containerd/v2.4.2"},
		{http.MethodGet, "/v2/team/app/manifests/1", "User-Agent", "containerd/v2.4.2"},
		{http.MethodGet, "/v2/team/app/manifests/1" + ns, "User-Agent", "docker/20.10"},
		{http.MethodGet, "/v2/team/app/manifests/none" + ns, "User-Agent", "containerd/v2.4.2"},
	} {
		f.ask(quiet[0], quiet[1], quiet[2:]...)
	}
	require.Empty(t, r.told)
	f.ask(http.MethodGet, "/v2/team/app/manifests/"+dgst.String()+ns, "User-Agent", "containerd/1.6.20~ds1", "Authorization", "Basic YTpi")
	require.Equal(t, []told{{
		ocispec.MediaTypeImageManifest, dgst, string(body),
		p2p.Origin{Registry: up.Host(), Repository: "team/app", Authorization: "Basic YTpi"},
	}}, r.told)

	// One of another machine has a store of its own.
	req := httptest.NewRequest(http.MethodGet, "/v2/team/app/manifests/1"+ns, nil)
	req.Header.Set("User-Agent", "containerd/v2.4.2")
	req.RemoteAddr = "192.0.2.7:1234"
	f.Config.Handler.ServeHTTP(httptest.NewRecorder(), req)
	require.Len(t, r.told, 1)
}
