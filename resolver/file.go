package resolver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// FileRequest is how a file of any HTTP server is asked for.
type FileRequest struct {
	Method string // "" means GET
	URL    *url.URL
	// Header is sent as it is; another origin that a redirect leads to gets only
	// what is [Harmless] of it.
	Header http.Header
	// Stay gives a redirect back rather than following it.
	Stay bool
}

// harmless are the request headers that hold no credentials.
var harmless = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Dnt", "If-Match", "If-Modified-Since",
	"If-None-Match", "If-Range", "If-Unmodified-Since", "Origin", "Pragma", "Priority", "Range", "Te",
	"Upgrade-Insecure-Requests", "User-Agent", "Want-Content-Digest", "Want-Digest", "Want-Repr-Digest",
}

// Harmless reports whether a request header, by its canonical name, never holds
// credentials. Any other one may.
func Harmless(header string) bool {
	return slices.Contains(harmless, header) || strings.HasPrefix(header, "Sec-")
}

// Ask asks for a file, and returns the answer whatever its status. The error of a
// server that cannot be reached is an *oci.Error. The caller closes the body.
func (r *Resolver) Ask(ctx context.Context, q FileRequest) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := r.askOnce(ctx, q)
		if err == nil {
			resp.Body = guard(resp.Body, r.cfg.StallTimeout)
			return resp, nil
		}
		if !waitToRetry(ctx, try, err) {
			return nil, fileUnreachable(ctx, q.URL, err)
		}
	}
}

func (r *Resolver) askOnce(ctx context.Context, q FileRequest) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.Method, q.URL.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = q.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", r.cfg.UserAgent)
	}
	if _, ok := req.Header["Accept-Encoding"]; !ok {
		req.Header.Set("Accept-Encoding", "identity")
	}
	client := http.Client{Transport: byHost{r}, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if q.Stay {
			return http.ErrUseLastResponse
		}
		if err := checkRedirect(req, via); err != nil {
			return err
		}
		if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			for name := range req.Header {
				if !Harmless(name) {
					req.Header.Del(name)
				}
			}
		}
		return nil
	}}
	return client.Do(req)
}

// byHost sends each request as its host is configured.
type byHost struct{ r *Resolver }

func (t byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	h, _ := t.r.at(req.URL.Host)
	return h.client.Transport.RoundTrip(req)
}

// Version is what tells one version of a file from another (RFC 9110, section 8.8).
type Version struct{ ETag, LastModified string }

// VersionOf is what an answer says of the version that it gives.
func VersionOf(h http.Header) Version {
	return Version{ETag: h.Get("ETag"), LastModified: h.Get("Last-Modified")}
}

// Name tells the version from others; "" if nothing does. A strong entity tag does so
// by itself. A weak one may stand for several: only a date beside it makes a name
// (RFC 9110, section 8.8.1).
func (v Version) Name() string {
	switch {
	case strings.HasPrefix(v.ETag, `"`):
		return v.ETag
	case v.LastModified == "":
		return ""
	}
	return v.ETag + " " + v.LastModified
}

// File reads a version of a file from offset to end, which it may exceed; 0 is the
// file's own end. size is that of the whole file, -1 if the server does not say. A
// server that does not know ranges is read from the start. Errors are *oci.Error,
// with oci.CodeFileChanged if the version is no longer there; those of the body are
// plain.
func (r *Resolver) File(ctx context.Context, q FileRequest, v Version, offset, end int64) (body io.ReadCloser, size int64, err error) {
	q.Method = http.MethodGet
	if q.Header = q.Header.Clone(); q.Header == nil {
		q.Header = http.Header{}
	}
	switch {
	case end > 0:
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, end-1))
	case offset > 0:
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := r.Ask(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = resp.Body.Close()
		}
	}()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, 0, FileRefusal(q.URL, resp)
	}
	if v.Name() != VersionOf(resp.Header).Name() {
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusPreconditionFailed, oci.CodeFileChanged, "%s has changed at its source", Shown(q.URL))
	}
	size, err = r.place(resp, resp.Body, offset)
	if err != nil {
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "%s: %v", Shown(q.URL), err)
	}
	return resp.Body, size, nil
}

// FileRefusal is the error of an answer that is not a success. It reads nothing.
func FileRefusal(u *url.URL, resp *http.Response) *oci.Error {
	e := oci.Errorf(oci.SideUpstream, resp.StatusCode, oci.CodeUnavailable, "%s: the server answers %d %s", Shown(u), resp.StatusCode, http.StatusText(resp.StatusCode))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		e.Code, e.Challenges = oci.CodeUnauthorized, resp.Header.Values("WWW-Authenticate")
	case resp.StatusCode == http.StatusForbidden:
		e.Code = oci.CodeDenied
	case resp.StatusCode == http.StatusTooManyRequests:
		e.Code, e.RetryAfter = oci.CodeTooManyRequests, resp.Header.Get("Retry-After")
	case !slices.Contains(passed, resp.StatusCode):
		e.Status = http.StatusBadGateway
	}
	return e
}

// Shown is a URL without what may be secret: its query, its user and its fragment.
func Shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// fileUnreachable is the error of a server that gave no answer.
func fileUnreachable(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = withoutURL(err)
	e := oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "%s://%s cannot be reached: %v", u.Scheme, u.Host, err)
	var (
		timeout   net.Error
		name      *net.DNSError
		cert      *tls.CertificateVerificationError
		forbidden interface{ Forbidden() }
	)
	switch {
	case errors.As(err, &forbidden):
		e.Side, e.Status, e.Code = oci.SideClient, http.StatusForbidden, oci.CodeUnreachable
	case errors.As(err, &cert):
		e.Code = oci.CodeUnreachable
		e.Message = fmt.Sprintf("the certificate of %s is not trusted: %v; name its CA: ca_file in registries[] of the agent and its supernode, --cacert of shoal get", u.Host, cert.Err)
	case errors.As(err, &name) && name.IsNotFound, errors.Is(err, errRedirect):
		e.Code = oci.CodeUnreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Status = http.StatusGatewayTimeout
	}
	return e
}
