package resolver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// MaxManifest bounds manifests and lists in bytes. The distribution spec asks
// registries to take at least 4 MiB.
const MaxManifest = 16 << 20

// Manifest is a manifest, or what HEAD tells of one.
type Manifest struct {
	MediaType string
	Digest    digest.Digest // "" if HEAD did not tell
	Size      int64         // -1 if HEAD did not tell
	Body      []byte        // nil for HEAD
}

// Accept is what is asked for where a client does not say.
var Accept = []string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
	"*/*",
}

// Manifest gets a manifest by tag or digest, byte for byte. accept are the
// client's Accept values. The bytes always match the digest: the one asked for,
// or the one that the upstream gives for a tag.
func (r *Resolver) Manifest(ctx context.Context, repo Repository, ref string, accept []string) (*Manifest, error) {
	resp, err := r.do(ctx, repo, manifestRequest(http.MethodGet, repo, ref, accept))
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp, "manifest "+ref, repo)
	if err != nil {
		return nil, err
	}
	m := &Manifest{MediaType: mediaType(resp, body), Size: int64(len(body)), Body: body}
	want, err := digest.Parse(ref)
	if err != nil { // a tag
		want, err = digest.Parse(resp.Header.Get("Docker-Content-Digest"))
	}
	if err != nil {
		want = digest.FromBytes(body)
	}
	if got := want.Algorithm().FromBytes(body); got != want {
		return nil, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeDigestInvalid,
			"registry %s sent wrong bytes for manifest %s of %s: they hash to %s", repo.Registry, ref, repo.Name, got)
	}
	m.Digest = want
	return m, nil
}

// StatManifest asks what a tag or digest is, which costs no pull.
func (r *Resolver) StatManifest(ctx context.Context, repo Repository, ref string, accept []string) (*Manifest, error) {
	resp, err := r.do(ctx, repo, manifestRequest(http.MethodHead, repo, ref, accept))
	if err != nil {
		return nil, err
	}
	drain(resp)
	m := &Manifest{MediaType: mediaType(resp, nil), Size: resp.ContentLength}
	if dgst, err := digest.Parse(resp.Header.Get("Docker-Content-Digest")); err == nil {
		m.Digest = dgst
	} else if dgst, err := digest.Parse(ref); err == nil {
		m.Digest = dgst
	}
	return m, nil
}

func manifestRequest(method string, repo Repository, ref string, accept []string) request {
	if len(accept) == 0 {
		accept = Accept
	}
	return request{method: method, path: repo.Name + "/manifests/" + ref, header: http.Header{"Accept": accept}, unknown: oci.CodeManifestUnknown}
}

func mediaType(resp *http.Response, body []byte) string {
	if t := resp.Header.Get("Content-Type"); t != "" && !strings.HasPrefix(t, "text/plain") {
		return t
	}
	return oci.MediaType(body)
}

// readAll reads a bounded body, and closes it.
func readAll(resp *http.Response, what string, repo Repository) ([]byte, error) {
	body := guard(resp.Body)
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, MaxManifest+1))
	if err == nil && len(data) > MaxManifest {
		err = fmt.Errorf("it is larger than %d bytes", MaxManifest)
	}
	if err != nil {
		return nil, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "%s of %s: %v", what, repo, err)
	}
	return data, nil
}

// List is a page of tags, or the referrers of a manifest.
type List struct {
	Body      []byte
	MediaType string
	Next      string // target of the Link to the next page, as the upstream sent it; "" on the last
	Filtered  bool   // the upstream applied the filter
}

// Tags gets a page of the repository's tags. query holds n and last.
func (r *Resolver) Tags(ctx context.Context, repo Repository, query url.Values) (*List, error) {
	return r.list(ctx, repo, repo.Name+"/tags/list", query, oci.CodeNameUnknown)
}

// Referrers gets a page of the manifests that refer to dgst. query holds
// artifactType. Where the upstream lacks the API, the spec's fallback tag is
// read.
func (r *Resolver) Referrers(ctx context.Context, repo Repository, dgst digest.Digest, query url.Values) (*List, error) {
	l, err := r.list(ctx, repo, repo.Name+"/referrers/"+dgst.String(), query, oci.CodeManifestUnknown)
	if !oci.HasStatus(err, http.StatusNotFound) {
		return l, err
	}
	tag := dgst.Algorithm().String() + "-" + dgst.Encoded()
	m, err := r.Manifest(ctx, repo, tag[:min(len(tag), 128)], nil)
	switch {
	case oci.HasStatus(err, http.StatusNotFound):
		return &List{Body: oci.EmptyIndex(), MediaType: oci.IndexType}, nil
	case err != nil:
		return nil, err
	}
	return &List{Body: m.Body, MediaType: m.MediaType}, nil
}

func (r *Resolver) list(ctx context.Context, repo Repository, path string, query url.Values, unknown string) (*List, error) {
	resp, err := r.do(ctx, repo, request{method: http.MethodGet, path: path, query: query, unknown: unknown})
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp, "list", repo)
	if err != nil {
		return nil, err
	}
	return &List{
		Body: body, MediaType: mediaType(resp, body), Next: nextLink(resp.Header.Values("Link")),
		Filtered: resp.Header.Get("OCI-Filters-Applied") != "",
	}, nil
}

// nextLink returns the target of rel="next" (RFC 8288).
func nextLink(values []string) string {
	for _, v := range values {
		for _, link := range strings.Split(v, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") {
				continue
			}
			params = strings.ReplaceAll(strings.ToLower(params), `"`, "")
			for _, p := range strings.Split(params, ";") {
				if strings.TrimSpace(p) == "rel=next" {
					return target[1:]
				}
			}
		}
	}
	return ""
}

// Ping asks whether the registry answers, and wants a login first.
func (r *Resolver) Ping(ctx context.Context, repo Repository) error {
	resp, err := r.do(ctx, repo, request{method: http.MethodGet, unknown: oci.CodeUnsupported})
	if err != nil {
		return err
	}
	drain(resp)
	return nil
}
