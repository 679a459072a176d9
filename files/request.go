package files

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/net/http/httpguts"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// Request headers by which a client such as `shoal get` says more than HTTP does.
// They never go to the source.
const (
	// HeaderGet asks for a download: "p2p" through the swarm whatever the rules
	// say, "source" past it. Redirects are followed.
	HeaderGet = "Shoal-Get"
	// HeaderFilter lists query parameters that do not name content, separated by
	// commas and percent-encoded.
	HeaderFilter = "Shoal-Filter"
	// HeaderDigest is the digest that the whole file must have.
	HeaderDigest = "Shoal-Digest"
	// HeaderResume says that a range is the rest of what a download began with:
	// of that range, or of the whole file if it is none.
	HeaderResume = "Shoal-Resume"
	// HeaderKeep asks the agent to keep a download in its store, if that keeps files,
	// though the client has it: for other nodes, and for later.
	HeaderKeep = "Shoal-Keep"
	// HeaderError, in an answer, says that the answer is no source's: final if
	// another try is in vain, else temporary.
	HeaderError = "Shoal-Error"
	// HeaderTask, in an answer, is the ID of the file's task in the swarm.
	HeaderTask = "Shoal-Task"
)

const (
	maxURL     = 16 << 10 // bytes
	maxHeaders = 48 << 10 // bytes, of what goes to the source: less than a message to the supernode holds
	maxFilter  = 64       // parameters
)

// request is a request that has been understood.
type request struct {
	url      *url.URL
	header   http.Header // for the source
	filter   []string
	digest   digest.Digest
	download bool // a client such as shoal get asks
	past     bool // past the swarm
	keep     bool
	resume   string // HeaderResume
}

// parse understands a request.
func parse(r *http.Request) (*request, error) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil, refuse(http.StatusMethodNotAllowed, "files can only be read: GET and HEAD are known, %.20q is not", r.Method)
	case r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "":
		return nil, refuse(http.StatusBadRequest, "the request names no http or https URL")
	case r.URL.User != nil:
		return nil, refuse(http.StatusBadRequest, "the URL holds a user: send an Authorization header instead")
	case len(r.URL.String()) > maxURL:
		return nil, refuse(http.StatusRequestURITooLong, "the URL is longer than %d bytes", maxURL)
	}
	q := &request{url: r.URL, resume: r.Header.Get(HeaderResume), keep: r.Header.Get(HeaderKeep) != ""}
	switch get := r.Header.Get(HeaderGet); get {
	case "":
	case "p2p", "source":
		q.download, q.past = true, get == "source"
	default:
		return nil, refuse(http.StatusBadRequest, "%s is %.20q: it is p2p or source", HeaderGet, get)
	}
	if d := r.Header.Get(HeaderDigest); d != "" {
		q.digest = digest.Digest(d)
		if len(d) > 256 || q.digest.Validate() != nil {
			return nil, refuse(http.StatusBadRequest, "%s %.80q is no digest: sha256, sha384 and sha512 are known", HeaderDigest, d)
		}
	}
	var err error
	if q.filter, err = parseFilter(r.Header.Values(HeaderFilter)); err != nil {
		return nil, err
	}
	q.header, err = forSource(r.Header)
	return q, err
}

// parseFilter reads names of query parameters.
func parseFilter(values []string) (names []string, err error) {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			n, err := url.QueryUnescape(strings.TrimSpace(name))
			if err != nil {
				return nil, refuse(http.StatusBadRequest, "%s: %.80q is not percent-encoded", HeaderFilter, name)
			}
			if n != "" {
				names = append(names, n)
			}
		}
	}
	if len(names) > maxFilter {
		return nil, refuse(http.StatusBadRequest, "%s has more than %d names", HeaderFilter, maxFilter)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// ours are the headers that do not go to the source: those of the connection
// (RFC 9110, section 7.6.1), those that say which part or version the client has,
// and our own.
var ours = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length",
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	HeaderGet, HeaderFilter, HeaderDigest, HeaderResume, HeaderKeep,
}

// forSource is what the source hears of a client's headers.
func forSource(h http.Header) (http.Header, error) {
	out := http.Header{}
	dropped := slices.Clone(ours)
	for _, v := range h.Values("Connection") {
		for name := range strings.SplitSeq(v, ",") {
			dropped = append(dropped, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range h {
		if slices.Contains(dropped, name) {
			continue
		}
		if !validHeader(name, values) {
			return nil, refuse(http.StatusBadRequest, "the header %.80q cannot be passed on", name)
		}
		out[name] = values
	}
	if sizeOf(out) > maxHeaders {
		return nil, refuse(http.StatusRequestHeaderFieldsTooLarge, "the request's headers are larger than %d bytes", maxHeaders)
	}
	return out, nil
}

func validHeader(name string, values []string) bool {
	return httpguts.ValidHeaderFieldName(name) && !slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) })
}

// refuse is an error of the client's.
func refuse(status int, format string, args ...any) error {
	return oci.Errorf(oci.SideClient, status, oci.CodeUnsupported, format, args...)
}
