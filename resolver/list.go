package resolver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// List is a page of tags, or the referrers of a manifest. Its body is JSON.
type List struct {
	Body      []byte
	MediaType string
	Next      string // target of the Link to the next page, as the upstream sent it; "" on the last
	Filtered  bool   // the upstream applied the filter
}

// Tags gets a page of the repository's tags. query holds n and last, or what
// the upstream's last Next says.
func (r *Resolver) Tags(ctx context.Context, repo Repository, query url.Values) (*List, error) {
	return r.list(ctx, repo, "tags", repo.Name+"/tags/list", query, oci.CodeNameUnknown)
}

// lacksReferrers are the statuses by which registries say that they have no
// referrers API. The spec's is 404, which one that has it never sends.
var lacksReferrers = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable}

// Referrers gets a page of the manifests that refer to dgst. query holds
// artifactType. Where the upstream lacks the API, the spec's fallback tag is
// read; where that is missing too, nothing refers to dgst.
func (r *Resolver) Referrers(ctx context.Context, repo Repository, dgst digest.Digest, query url.Values) (*List, error) {
	l, err := r.list(ctx, repo, "referrers", repo.Name+"/referrers/"+dgst.String(), query, oci.CodeManifestUnknown)
	if !slices.ContainsFunc(lacksReferrers, func(status int) bool { return oci.HasStatus(err, status) }) {
		return l, err
	}
	m, err := r.Manifest(ctx, repo, fallbackTag(dgst), []string{oci.IndexType})
	switch {
	case oci.HasStatus(err, http.StatusNotFound) || err == nil && oci.MediaType(m.Body) != oci.IndexType:
		return &List{Body: oci.EmptyIndex(), MediaType: oci.IndexType}, nil
	case err != nil:
		return nil, err
	}
	return &List{Body: m.Body, MediaType: m.MediaType}, nil
}

// fallbackTag is where clients keep the referrers of a manifest in a registry
// that lacks the API (distribution spec 1.1, "Referrers Tag Schema").
func fallbackTag(dgst digest.Digest) string {
	alg, hex := dgst.Algorithm().String(), dgst.Encoded()
	return alg[:min(len(alg), 32)] + "-" + hex[:min(len(hex), 64)]
}

func (r *Resolver) list(ctx context.Context, repo Repository, what, path string, query url.Values, unknown string) (*List, error) {
	resp, err := r.do(ctx, repo, request{method: http.MethodGet, path: path, query: query, unknown: unknown})
	if err != nil {
		return nil, err
	}
	body, err := r.readAll(resp, "the list of "+what, repo)
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "the list of %s of %s: the registry sent no JSON", what, repo)
	}
	return &List{
		Body: body, MediaType: mediaType(resp, body), Next: nextLink(resp.Header.Values("Link")),
		Filtered: filtered(resp.Header.Values("OCI-Filters-Applied")),
	}, nil
}

// filtered reports whether the upstream says that it filtered by artifact type.
func filtered(values []string) bool {
	for _, f := range strings.Split(strings.Join(values, ","), ",") {
		if strings.TrimSpace(f) == "artifactType" {
			return true
		}
	}
	return false
}

// nextLink returns the target of rel="next" (RFC 8288).
func nextLink(values []string) string {
	for _, v := range values {
		for v != "" {
			_, rest, ok := strings.Cut(v, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, more, _ := strings.Cut(rest, ",") // the targets may hold commas, relations do not
			if isNext(params) {
				return target
			}
			v = more
		}
	}
	return ""
}

func isNext(params string) bool {
	for _, p := range strings.Split(params, ";") {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(key), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
			return true
		}
	}
	return false
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
