package mirror

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

// kind is what a request asks for.
type kind int

const (
	ping kind = iota
	manifest
	blob
	tags
	referrers
)

// target is a request that has been understood.
type target struct {
	kind     kind
	registry string
	name     string
	ref      string // tag or digest of a manifest
	digest   digest.Digest
	prefix   string // path before /v2/, for links to the next page
}

// Grammar of the distribution spec 1.1.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	hostGrammar = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?$`)
)

const (
	maxName = 255
	maxHost = 255
)

// registryKey is where a request's context has its registry.
type registryKey struct{}

// WithRegistry names the registry of a request, which its URL then does not: as
// the parameter ns does, or by resolver.PlainHTTP.
func WithRegistry(r *http.Request, registry string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), registryKey{}, registry))
}

// IsContent reports whether a path below /v2/ is that of a manifest or a blob.
func IsContent(path string) bool {
	prefix, rest, ok := cutAPI(path)
	var t target
	return ok && prefix == "" && t.parseRest(rest) == nil && (t.kind == manifest || t.kind == blob)
}

// targetOf understands a request.
func (m *mirror) targetOf(r *http.Request) (target, *oci.Error) {
	registry, ok := r.Context().Value(registryKey{}).(string)
	if !ok {
		return parseTarget(r.URL, m.cfg.DefaultRegistry)
	}
	host, plainHTTP := strings.CutPrefix(registry, resolver.PlainHTTP(""))
	t, err := parseTarget(&url.URL{Path: r.URL.Path}, host)
	if err == nil && plainHTTP {
		t.registry = resolver.PlainHTTP(t.registry)
	}
	return t, err
}

// parseTarget understands the URL of a request.
func parseTarget(u *url.URL, defaultRegistry string) (target, *oci.Error) {
	var t target
	prefix, rest, ok := cutAPI(u.Path)
	if !ok {
		return t, oci.Errorf(oci.SideClient, http.StatusNotFound, oci.CodeUnsupported,
			"this is a registry mirror: its paths start with /v2/, or with /<registry>/v2/")
	}
	t.prefix = prefix
	t.registry = defaultRegistry
	if prefix != "" {
		t.registry = prefix[1:]
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeUnsupported, "the query cannot be read: %v", err)
	}
	if query.Has("ns") {
		t.registry = query.Get("ns")
	}
	if !validHost(t.registry) {
		return t, oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeNameInvalid, "registry %.80q is not host[:port]", t.registry)
	}
	t.registry = resolver.Canonical(t.registry)
	if rest == "" {
		return t, nil
	}
	if err := t.parseRest(rest); err != nil {
		return t, err
	}
	if t.registry == resolver.DockerHub && !strings.Contains(t.name, "/") {
		t.name = "library/" + t.name
	}
	return t, nil
}

// cutAPI splits a path at /v2/. The prefix is "" or one path element.
func cutAPI(path string) (prefix, rest string, ok bool) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "v2" {
		return "", rest, true
	}
	second, rest, _ := strings.Cut(rest, "/")
	return "/" + first, rest, first != "" && second == "v2"
}

// parseRest understands what follows /v2/.
func (t *target) parseRest(rest string) *oci.Error {
	name, last := "", ""
	switch {
	case strings.HasSuffix(rest, "/tags/list"):
		t.kind, name = tags, strings.TrimSuffix(rest, "/tags/list")
	default:
		cut := strings.LastIndex(rest, "/")
		if cut < 0 {
			return unknownPath()
		}
		rest, last = rest[:cut], rest[cut+1:]
		for suffix, k := range map[string]kind{"/manifests": manifest, "/blobs": blob, "/referrers": referrers} {
			if n, ok := strings.CutSuffix(rest, suffix); ok {
				t.kind, name = k, n
			}
		}
		if t.kind == ping {
			return unknownPath()
		}
	}
	if len(name) > maxName || !nameGrammar.MatchString(name) {
		return oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeNameInvalid, "repository name %.80q is not valid", name)
	}
	t.name = name
	return t.parseReference(last)
}

func (t *target) parseReference(ref string) *oci.Error {
	if t.kind == tags {
		return nil
	}
	dgst, err := digest.Parse(ref)
	if len(ref) <= 256 && err == nil {
		t.ref, t.digest = ref, dgst
		return nil
	}
	if t.kind == manifest && !strings.Contains(ref, ":") {
		if tagGrammar.MatchString(ref) {
			t.ref = ref
			return nil
		}
		return oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeManifestInvalid, "tag %.80q is not valid", ref)
	}
	return oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeDigestInvalid, "digest %.80q is not valid: sha256, sha384 and sha512 are known", ref)
}

func unknownPath() *oci.Error {
	return oci.Errorf(oci.SideClient, http.StatusNotFound, oci.CodeUnsupported, "the distribution API has no such path")
}

// validHost reports whether s is host[:port], with IPv6 in brackets.
func validHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		host = h
		if strings.Contains(h, ":") {
			return net.ParseIP(h) != nil
		}
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return strings.Contains(s, ":") && net.ParseIP(s[1:len(s)-1]) != nil
	}
	return hostGrammar.MatchString(host) && !strings.Contains(host, "..")
}

// repository is the upstream's side of a target, seen with the request's
// credentials.
func (t target) repository(r *http.Request) resolver.Repository {
	return resolver.Repository{Registry: t.registry, Name: t.name, Authorization: r.Header.Get("Authorization")}
}
