package resolver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/resolver"
)

func TestTagsComeInPages(t *testing.T) {
	up := registrytest.New(t)
	for _, tag := range []string{"a", "b", "c"} {
		up.PushImage("team/app", tag, nil)
	}
	r := ask(t, resolver.Config{}, plain(up))
	l, err := r.Tags(t.Context(), at(up), url.Values{"n": {"2"}})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"team/app","tags":["a","b"]}`, string(l.Body))
	next, err := url.Parse(l.Next)
	require.NoError(t, err)
	l, err = r.Tags(t.Context(), at(up), next.Query())
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"team/app","tags":["c"]}`, string(l.Body))
	require.Empty(t, l.Next)

	up.Do(registrytest.Harm{Status: 404})
	_, err = r.Tags(t.Context(), at(up), nil)
	e := asOCI(t, err)
	require.Equal(t, http.StatusNotFound, e.Status)
	require.Equal(t, oci.CodeNameUnknown, e.Code)
}

func TestListThatIsNoJSON(t *testing.T) {
	up := registrytest.New(t)
	up.Do(registrytest.Harm{Status: 200, Body: "<html>"})
	_, err := ask(t, resolver.Config{}, plain(up)).Tags(t.Context(), at(up), nil)
	require.Contains(t, asOCI(t, err).Message, "no JSON")
}

func digests(t *testing.T, index []byte) []digest.Digest {
	t.Helper()
	var i ocispec.Index
	require.NoError(t, json.Unmarshal(index, &i))
	found := []digest.Digest{}
	for _, m := range i.Manifests {
		found = append(found, m.Digest)
	}
	return found
}

func TestReferrers(t *testing.T) {
	up := registrytest.New(t)
	subject, body := up.PushImage("team/app", "v1", nil)
	sbom, _ := up.PushImage("team/app", "", nil, registrytest.Refers(subject, len(body), "application/sbom"))
	sig, _ := up.PushImage("team/app", "", nil, registrytest.Refers(subject, len(body), "application/signature"))
	r := ask(t, resolver.Config{}, plain(up))
	l, err := r.Referrers(t.Context(), at(up), subject, nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []digest.Digest{sbom, sig}, digests(t, l.Body))
	require.False(t, l.Filtered)
	l, err = r.Referrers(t.Context(), at(up), subject, url.Values{"artifactType": {"application/sbom"}})
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{sbom}, digests(t, l.Body))
	require.True(t, l.Filtered)
}

func TestReferrersFallBackToTheTag(t *testing.T) {
	up := registrytest.New(t)
	lacks := func(q *http.Request) bool { return !registrytest.Manifests(q) }
	sbom, body := up.PushImage("team/app", "", nil)
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: sbom, Size: int64(len(body)), ArtifactType: "application/sbom"}},
	})
	require.NoError(t, err)
	r := ask(t, resolver.Config{}, plain(up))
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		subject := alg.FromString("subject")
		for _, status := range []int{400, 404, 405, 406} {
			up.Do(registrytest.Harm{Only: lacks, Status: status})
			l, err := r.Referrers(t.Context(), at(up), subject, nil)
			require.NoError(t, err)
			require.Empty(t, digests(t, l.Body), "neither API nor tag")
		}
		// 64 hexadecimal digits, whatever the algorithm
		up.PushManifest("team/app", string(alg)+"-"+subject.Encoded()[:64], ocispec.MediaTypeImageIndex, index)
		l, err := r.Referrers(t.Context(), at(up), subject, url.Values{"artifactType": {"application/sbom"}})
		require.NoError(t, err)
		require.Equal(t, index, l.Body)
		require.False(t, l.Filtered)
	}
	up.PushImage("team/app", "sha256-"+digest.FromString("image").Encoded(), nil)
	l, err := r.Referrers(t.Context(), at(up), digest.FromString("image"), nil)
	require.NoError(t, err)
	require.Empty(t, digests(t, l.Body), "an image under the tag is no list")

	up.Do(registrytest.Harm{Status: 503})
	_, err = r.Referrers(t.Context(), at(up), digest.FromString("subject"), nil)
	require.Equal(t, http.StatusBadGateway, asOCI(t, err).Status)
}
