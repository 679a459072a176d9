package resolver

import (
	"errors"
	"fmt"
	"net/http"
)

// maxRedirects is one more than any registry in use needs.
const maxRedirects = 5

var errRedirect = errors.New("the upstream redirects")

// checkRedirect follows a redirect without the credentials, unless it stays at
// the same scheme, host and port.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w more than %d times", errRedirect, maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w from https to %s", errRedirect, req.URL.Scheme)
	}
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer") // would tell a third party what is pulled
	return nil
}
