package get

import (
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// Direct is an engine's handler that fetches everything from the source, in no
// swarm. The function ends its connections.
func Direct() (http.Handler, func()) {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = ""
			for key := range r.Out.Header {
				if strings.HasPrefix(key, "Shoal-") {
					r.Out.Header.Del(key)
				}
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, unquoted(err).Error(), http.StatusBadGateway)
		},
		FlushInterval: -1,
		ErrorLog:      stdlog.New(io.Discard, "", 0), // the client sees what breaks
	}
	return proxy, transport.CloseIdleConnections
}

// unquoted is an error of net/http without the URL, which may hold secrets.
func unquoted(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return fmt.Errorf("host %s is not known", e.Name)
	}
	return err
}
