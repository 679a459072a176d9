// Package gettest has an agent's part of a download, without a swarm, for tests.
package gettest

import (
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"
)

// Direct is a handler that fetches everything from the source. The function ends its
// connections.
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
			r.Out.URL.RawQuery = r.In.URL.RawQuery // which may be one that Go would not write
			for key := range r.Out.Header {
				if strings.HasPrefix(key, "Shoal-") {
					r.Out.Header.Del(key)
				}
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
				err = fmt.Errorf("host %s is not known", e.Name)
			}
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		FlushInterval: -1,
		ErrorLog:      stdlog.New(io.Discard, "", 0), // the client sees what breaks
	}
	return proxy, transport.CloseIdleConnections
}
