package resolver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
)

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
	body, err := r.readAll(resp, "manifest "+ref, repo)
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
func (r *Resolver) readAll(resp *http.Response, what string, repo Repository) ([]byte, error) {
	body := guard(resp.Body, r.cfg.StallTimeout)
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, oci.MaxManifest+1))
	if err == nil && len(data) > oci.MaxManifest {
		err = fmt.Errorf("it is larger than %d bytes", oci.MaxManifest)
	}
	if err != nil {
		return nil, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "%s of %s: %v", what, repo, err)
	}
	return data, nil
}
