package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// request is one question to an upstream.
type request struct {
	method string
	path   string // below /v2/
	query  url.Values
	header http.Header
	// unknown is the OCI code of a 404.
	unknown string
	// once says that who asks goes on by itself where it cannot be reached.
	once bool
}

// do asks the upstream. Any answer but a success is an *oci.Error. The caller
// closes the body.
func (r *Resolver) do(ctx context.Context, repo Repository, q request) (*http.Response, error) {
	name := Canonical(repo.Registry)
	h, addr := r.at(name)
	u := url.URL{Scheme: h.scheme, Host: addr, Path: "/v2/" + q.path, RawQuery: q.query.Encode()}
	for try := 0; ; try++ {
		resp, err := r.ask(ctx, h, u.String(), repo, q)
		var e *oci.Error
		switch {
		case errors.As(err, &e):
			return nil, err
		case err != nil:
			if !q.once && waitToRetry(ctx, try, err) {
				continue
			}
			return nil, unreachable(ctx, repo.Registry, err)
		case resp.StatusCode/100 == 2:
			return resp, nil
		}
		return nil, refusal(resp, repo, q.unknown)
	}
}

// maxLogins bounds how often a login is made anew for one request, while others
// fail with theirs.
const maxLogins = 3

// ask sends a request: with the client's credentials, or with the node's where
// the client has none.
func (r *Resolver) ask(ctx context.Context, h *host, target string, repo Repository, q request) (*http.Response, error) {
	if repo.Authorization != "" || h.logins == nil {
		return r.send(ctx, h, target, q, func(req *http.Request) error {
			if repo.Authorization != "" {
				req.Header.Set("Authorization", repo.Authorization)
			}
			return nil
		})
	}
	for round := 1; ; round++ {
		login, fresh := h.logins.at(repo.Name)
		resp, err := r.askAs(ctx, h, target, q, login)
		if err == nil && resp.StatusCode != http.StatusUnauthorized {
			return resp, nil
		}
		h.logins.forget(repo.Name, login)
		if fresh || round == maxLogins || ctx.Err() != nil {
			return resp, loginFailed(ctx, repo.Registry, err)
		}
		if err == nil {
			drain(resp)
		}
	}
}

// askAs sends a request, and logs in first where the upstream demands that.
func (r *Resolver) askAs(ctx context.Context, h *host, target string, q request, login docker.Authorizer) (*http.Response, error) {
	authorize := func(req *http.Request) error {
		if err := login.Authorize(ctx, req); err != nil {
			return errLogin{err}
		}
		return nil
	}
	resp, err := r.send(ctx, h, target, q, authorize)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if login.AddResponses(ctx, []*http.Response{resp}) != nil {
		return resp, nil // a challenge that only the client can meet
	}
	drain(resp)
	return r.send(ctx, h, target, q, authorize)
}

func (r *Resolver) send(ctx context.Context, h *host, target string, q request, authorize func(*http.Request) error) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, target, nil)
	if err != nil {
		return nil, oci.Errorf(oci.SideClient, http.StatusBadRequest, oci.CodeNameInvalid, "the registry cannot be asked: %v", err)
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", r.cfg.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if err := authorize(req); err != nil {
		return nil, err
	}
	return h.client.Do(req)
}

// errLogin is a failure of the node's login.
type errLogin struct{ error }

func (e errLogin) Unwrap() error { return e.error }

// loginFailed explains a failure of the node's login, and passes any other.
func loginFailed(ctx context.Context, registry string, err error) error {
	var login errLogin
	if ctx.Err() != nil || !errors.As(err, &login) {
		return err
	}
	var answer remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &answer) && answer.StatusCode/100 == 4 {
		return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnauthorized,
			"registry %s does not take this node's credentials: its token server answers %d; check registries[].credentials", registry, answer.StatusCode)
	}
	return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable,
		"registry %s: this node cannot log in there: %v", registry, withoutURL(login.error))
}

// withoutURL drops the URL from an error, which may hold a signature.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// unreachable is the error of an upstream that gave no answer.
func unreachable(ctx context.Context, registry string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = withoutURL(err)
	if errors.Is(err, errRedirect) {
		return oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "registry %s cannot be followed: %v", registry, err)
	}
	status := http.StatusBadGateway
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	return oci.Errorf(oci.SideUpstream, status, oci.CodeUnavailable,
		"registry %s cannot be reached: %v; check its name, or --plain-http if it speaks HTTP", registry, err)
}

// passed are the statuses that mean to a client what they mean to us.
var passed = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusRequestedRangeNotSatisfiable,
	http.StatusTooManyRequests, http.StatusUnavailableForLegalReasons,
}

// unknowns are the codes that a 404 may have.
var unknowns = []string{oci.CodeBlobUnknown, oci.CodeManifestUnknown, oci.CodeNameUnknown}

// refusal turns an answer that is not a success into an error, and reads no
// more of it than that needs.
func refusal(resp *http.Response, repo Repository, unknown string) error {
	defer drain(resp)
	e := &oci.Error{Side: oci.SideUpstream, Status: resp.StatusCode}
	if !slices.Contains(passed, e.Status) {
		e.Status = http.StatusBadGateway
	}
	e.Code, e.Message = oci.ParseErrorBody(resp.Body)
	if e.Message == "" {
		e.Message = fmt.Sprintf("registry %s answers %d", repo.Registry, resp.StatusCode)
	} else {
		e.Message = fmt.Sprintf("registry %s: %s", repo.Registry, e.Message)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.Challenges = resp.Header.Values("WWW-Authenticate")
		e.Code = oci.CodeUnauthorized
	case http.StatusForbidden:
		e.Code = oci.CodeDenied
	case http.StatusNotFound:
		if !slices.Contains(unknowns, e.Code) {
			e.Code = unknown
		}
	case http.StatusTooManyRequests:
		e.Code = oci.CodeTooManyRequests
		e.RetryAfter = resp.Header.Get("Retry-After")
	}
	if e.Code == "" {
		e.Code = oci.CodeUnavailable
	}
	return e
}
