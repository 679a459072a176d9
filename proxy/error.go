package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// refusal is an error that the client gets, in plain text. Its text names the
// side that failed.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refusef(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

func (r *refusal) writeTo(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	body := "shoal proxy: " + r.text + "\n"
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte(body))
}

// refusalOf is what a client is told of a failure to reach an origin.
func refusalOf(err error, origin string) *refusal {
	var (
		own    *refusal
		hidden *forbidden
		lookup *net.DNSError
		cert   *tls.CertificateVerificationError
		late   net.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &hidden):
		return refusef(http.StatusForbidden, "client: %s may not be reached: %v", origin, hidden)
	case errors.As(err, &lookup):
		return refusef(http.StatusBadGateway, "upstream: the name of %s cannot be resolved: %v; check it, and the DNS of this node", origin, lookup)
	case errors.As(err, &cert):
		return refusef(http.StatusBadGateway, "upstream: the certificate of %s is not trusted: %v; name its CA in ca_file of proxy.hijack_https.hosts[], or leave the host out there", origin, cert.Err)
	case errors.As(err, &late) && late.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return refusef(http.StatusGatewayTimeout, "upstream: %s does not answer in time: %v", origin, err)
	}
	return refusef(http.StatusBadGateway, "upstream: %s cannot be reached: %v", origin, err)
}
