package mirror

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// pick returns the query parameters of a request that go up.
func pick(q url.Values, keys ...string) url.Values {
	out := url.Values{}
	for _, k := range keys {
		if q.Has(k) {
			out.Set(k, q.Get(k))
		}
	}
	return out
}

func (m *mirror) serveTags(w http.ResponseWriter, r *http.Request, t target) error {
	query := pick(r.URL.Query(), "n", "last")
	n := -1
	if query.Has("n") {
		v, err := strconv.Atoi(query.Get("n"))
		if err != nil || v < 0 {
			return oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeUnsupported, "n=%.40q is not a number of tags", query.Get("n"))
		}
		n = v
	}
	list, err := m.cfg.Resolver.Tags(r.Context(), t.repository(r), query)
	if err != nil {
		return err
	}
	var body struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if json.Unmarshal(list.Body, &body) != nil {
		return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "registry %s sent a list of tags that cannot be read", t.registry)
	}
	if n >= 0 && len(body.Tags) > n { // the upstream does not know pages
		body.Tags = body.Tags[:n]
		list.Next = "?" + url.Values{"n": {strconv.Itoa(n)}, "last": {lastOf(body.Tags)}}.Encode()
		if list.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if n != 0 {
		link(w, r, list.Next)
	}
	writeBody(w, r, http.StatusOK, "application/json", list.Body)
	return nil
}

func lastOf(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return tags[len(tags)-1]
}

func (m *mirror) serveReferrers(w http.ResponseWriter, r *http.Request, t target) error {
	query := pick(r.URL.Query(), "artifactType", "n", "last")
	list, err := m.cfg.Resolver.Referrers(r.Context(), t.repository(r), t.digest, query)
	if err != nil {
		return err
	}
	if want := query.Get("artifactType"); want != "" {
		if !list.Filtered {
			if list.Body, err = oci.FilterReferrers(list.Body, want); err != nil {
				return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "registry %s sent referrers that cannot be read: %v", t.registry, err)
			}
		}
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	link(w, r, list.Next)
	writeBody(w, r, http.StatusOK, oci.IndexType, list.Body)
	return nil
}

// link names the next page at this mirror: the upstream's query below our path.
func link(w http.ResponseWriter, r *http.Request, next string) {
	if next == "" {
		return
	}
	u, err := url.Parse(next)
	if err != nil {
		return
	}
	q := u.Query()
	q.Del("ns")
	if ns := r.URL.Query(); ns.Has("ns") {
		q.Set("ns", ns.Get("ns"))
	}
	here := url.URL{Path: r.URL.Path, RawQuery: q.Encode()}
	w.Header().Set("Link", "<"+here.String()+`>; rel="next"`)
}
