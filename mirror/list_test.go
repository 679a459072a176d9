package mirror_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
)

// walk follows the Links from a page to the last, and returns the tags of each.
func (f *front) walk(path string) (pages [][]string) {
	f.t.Helper()
	for path != "" {
		require.Less(f.t, len(pages), 10, "the pages do not end")
		a := f.get(path)
		require.Equal(f.t, http.StatusOK, a.StatusCode, "%s", a.body)
		require.Equal(f.t, "application/json", a.Header.Get("Content-Type"))
		var list struct {
			Name string
			Tags []string
		}
		require.NoError(f.t, json.Unmarshal(a.body, &list))
		require.Equal(f.t, "team/app", list.Name)
		pages = append(pages, list.Tags)
		path = next(f.t, a)
	}
	return pages
}

// next is the target of the Link to the next page.
func next(t *testing.T, a answer) string {
	t.Helper()
	link := a.Header.Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutSuffix(link, `>; rel="next"`)
	require.True(t, ok, link)
	return strings.TrimPrefix(target, "<")
}

func TestTagsInPagesThroughEveryFormOfTheRegistry(t *testing.T) {
	f := newFront(t, func(c *mirror.Config) { c.DefaultRegistry = "registry.example" })
	for _, tag := range []string{"a", "b", "c", "d", "e"} {
		f.up.PushImage("team/app", tag, nil)
	}
	for _, path := range []string{
		"/v2/team/app/tags/list?ns=" + url.QueryEscape(f.up.Host()) + "&",
		"/" + f.up.Host() + "/v2/team/app/tags/list?",
	} {
		require.Equal(t, [][]string{{"a", "b"}, {"c", "d"}, {"e"}}, f.walk(path+"n=2"))
		require.Equal(t, [][]string{{"c", "d", "e"}}, f.walk(path+"last=b"))
		require.Equal(t, [][]string{{"a", "b", "c", "d", "e"}}, f.walk(path))
		f.get(path+"n=-1").requireError(t, http.StatusBadRequest, oci.CodeUnsupported)
		f.get(path+"n=many").requireError(t, http.StatusBadRequest, oci.CodeUnsupported)
	}
}

func TestTagsOfAnUpstreamWithoutPages(t *testing.T) {
	f := newFront(t)
	f.up.Do(registrytest.Harm{Status: 200, Body: `{"name":"team/app","tags":["a","b","c","d","e"]}`})
	require.Equal(t, [][]string{{"a", "b"}, {"c", "d"}, {"e"}}, f.walk("/v2/team/app/tags/list?n=2"))
	require.Equal(t, [][]string{{}}, f.walk("/v2/team/app/tags/list?n=0"))
	require.Equal(t, [][]string{{"d", "e"}}, f.walk("/v2/team/app/tags/list?last=c"))
}

func TestPagingTokensGoBackToTheUpstream(t *testing.T) {
	f := newFront(t)
	f.up.Do(registrytest.Harm{
		Status: 200, Body: `{"name":"team/app","tags":["a"]}`,
		Header: http.Header{"Link": {`<` + f.up.URL + `/v2/team/app/tags/list?n=1&next_page=gAAA%3D>; rel="next"`}},
	})
	to := next(t, f.get("/v2/team/app/tags/list?n=1&ns="+f.up.Host()))
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.Equal(t, "/v2/team/app/tags/list", u.Path)
	require.Equal(t, url.Values{"n": {"1"}, "next_page": {"gAAA="}, "ns": {f.up.Host()}}, u.Query())
	f.get(to)
	require.Equal(t, "n=1&next_page=gAAA%3D", f.up.Requests("")[1].Query)
}

func TestTagsThatCannotBeRead(t *testing.T) {
	f := newFront(t)
	f.up.Do(registrytest.Harm{Status: 404})
	f.get("/v2/team/app/tags/list").requireError(t, http.StatusNotFound, oci.CodeNameUnknown)
	for _, body := range []string{"<html>", `["a"]`, `{"tags":7}`} {
		f.up.Do(registrytest.Harm{Status: 200, Body: body})
		f.get("/v2/team/app/tags/list").requireError(t, http.StatusBadGateway, oci.CodeUnavailable)
	}
}

func TestReferrersAreFilteredHereOrThere(t *testing.T) {
	f := newFront(t)
	subject, body := f.up.PushImage("team/app", "v1", nil)
	sbom, sbomBody := f.up.PushImage("team/app", "", nil, registrytest.Refers(subject, len(body), "application/sbom"))
	f.up.PushImage("team/app", "", nil, registrytest.Refers(subject, len(body), "application/signature"))
	path := "/v2/team/app/referrers/" + subject.String()
	check := func(query string, n int) {
		t.Helper()
		a := f.get(path + query)
		require.Equal(t, http.StatusOK, a.StatusCode)
		require.Equal(t, ocispec.MediaTypeImageIndex, a.Header.Get("Content-Type"))
		var index ocispec.Index
		require.NoError(t, json.Unmarshal(a.body, &index))
		require.Len(t, index.Manifests, n)
		if n == 1 {
			require.Equal(t, sbom, index.Manifests[0].Digest)
			require.Equal(t, int64(len(sbomBody)), index.Manifests[0].Size)
			require.Equal(t, "artifactType", a.Header.Get("OCI-Filters-Applied"))
		}
	}
	check("", 2)
	check("?artifactType=application%2Fsbom", 1)
	check("?artifactType=application%2Fnone", 0)

	// One that lists them and does not filter.
	all := f.get(path).body
	f.up.Do(registrytest.Harm{Status: 200, Body: string(all), Header: http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}})
	check("?artifactType=application%2Fsbom", 1)

	// One without the API, but with the tag.
	f.up.PushManifest("team/app", "sha256-"+subject.Encoded(), ocispec.MediaTypeImageIndex, all)
	f.up.Do(registrytest.Harm{Status: 404, Only: func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/referrers/") }})
	check("", 2)
	check("?artifactType=application%2Fsbom", 1)

	// One with neither.
	f.up.Do(registrytest.Harm{Status: 404})
	check("", 0)
	f.get("/v2/team/app/referrers/" + digest.FromString("x").String()).requireOK(t)
}

func (a answer) requireOK(t *testing.T) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.StatusCode, "%s", a.body)
}
