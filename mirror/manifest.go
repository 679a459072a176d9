package mirror

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/shoal-p2p/shoal/internal/delivery"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/resolver"
)

func (m *mirror) serveManifest(w http.ResponseWriter, r *http.Request, t target) error {
	repo, accept := t.repository(r), r.Header.Values("Accept")
	var (
		got   *resolver.Manifest
		stale bool
		err   error
	)
	switch {
	case t.digest != "":
		got, stale, err = m.manifests.byDigest(r.Context(), repo, t.digest, accept)
	case r.Method == http.MethodHead:
		got, stale, err = m.manifests.stat(r.Context(), repo, t.ref, accept)
	default:
		got, stale, err = m.manifests.byTag(r.Context(), repo, t.ref, accept)
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Docker-Content-Digest", got.Digest.String())
	h.Set("Etag", etagOf(got.Digest))
	h.Set("Content-Type", got.MediaType)
	if stale {
		h.Set("Warning", `110 - "Response is Stale"`) // RFC 7234, 5.5.1
	}
	if delivery.Matches(r.Header.Get("If-None-Match"), etagOf(got.Digest)) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if got.Body == nil { // HEAD, not kept
		h.Set("Accept-Ranges", "bytes")
		if got.Size >= 0 {
			h.Set("Content-Length", strconv.FormatInt(got.Size, 10))
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	m.ahead.learn(r, got.MediaType, got.Body)
	if m.cfg.Receiver != nil && fromContainerd(r) {
		m.cfg.Receiver.Receive(r.Context(), got.MediaType, got.Digest, got.Body, m.sourceOf(repo))
	}
	return writePart(w, r, got.Body, etagOf(got.Digest))
}

// fromContainerd reports whether a containerd on this machine gets a manifest.
func fromContainerd(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Has("ns") &&
		strings.HasPrefix(r.UserAgent(), "containerd/") && FromHere(r)
}

// FromHere reports whether a request comes from this machine.
func FromHere(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	if remote.Addr().IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap() == remote.Addr().Unmap()
}

// writePart answers with a body, or the part of it that is asked for.
func writePart(w http.ResponseWriter, r *http.Request, body []byte, etag string) error {
	size := int64(len(body))
	s := delivery.Span{Length: size}
	if r.Method == http.MethodGet {
		var ok bool
		if s, ok = delivery.SpanOf(r, size, etag, ""); !ok {
			return outside(w, r, size)
		}
	}
	s.WriteHeader(w, size)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body[s.Offset : s.Offset+s.Length])
	}
	return nil
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// papersOver reports whether a failure is one that an older answer may stand in
// for: the upstream is ill; it did not say no, and it did not lie.
func papersOver(err error) bool {
	e := answerOf(err)
	return e.Side == oci.SideUpstream && e.Temporary() && e.Code != oci.CodeUnauthorized && e.Code != oci.CodeDigestInvalid
}
