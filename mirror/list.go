package mirror

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// passed are the query parameters that go up: all but ns, which is for us.
// Registries put tokens of their own making into the Link to the next page, and
// must get them back.
func passed(r *http.Request) url.Values {
	q := r.URL.Query()
	q.Del("ns")
	return q
}

func (m *mirror) serveTags(w http.ResponseWriter, r *http.Request, t target) error {
	query := passed(r)
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
	cut, more := page(body.Tags, n, query.Get("last"))
	if len(cut) != len(body.Tags) {
		body.Tags = cut
		if list.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if more {
		list.Next = "?" + url.Values{"n": {strconv.Itoa(n)}, "last": {cut[n-1]}}.Encode()
	}
	if n != 0 {
		link(w, r, list.Next)
	}
	writeBody(w, r, http.StatusOK, "application/json", list.Body)
	return nil
}

// page cuts a list of tags to what was asked for: at most n of them, negative
// for all, that come after last. An upstream that knows pages has done so; for
// one that does not, more says that another page follows.
func page(tags []string, n int, last string) (cut []string, more bool) {
	if i := slices.Index(tags, last); i >= 0 && last != "" {
		tags = tags[i+1:]
	}
	if n < 0 || len(tags) <= n {
		return tags, false
	}
	return tags[:n], n > 0
}

func (m *mirror) serveReferrers(w http.ResponseWriter, r *http.Request, t target) error {
	query := passed(r)
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
