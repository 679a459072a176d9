package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

const (
	lifetime = 24 * time.Hour
	backdate = time.Hour
	// renewal is how long before its end a leaf is replaced.
	renewal = 6 * time.Hour
	// keptLeaves bounds the leaves in memory: some 4 kB each.
	keptLeaves = 2048
)

// Issuer has a certificate for every host. It is safe for concurrent use.
type Issuer struct {
	// static
	pair  tls.Certificate
	now   func() time.Time // nil: the pair is no CA
	roots *x509.CertPool   // the CA alone
	chain [][]byte         // what is sent after a leaf

	kept   *lru.Cache[string, *tls.Certificate]
	flight singleflight.Group
}

func newCache() *lru.Cache[string, *tls.Certificate] {
	c, err := lru.New[string, *tls.Certificate](keptLeaves)
	if err != nil { // only for a size below one
		panic(err)
	}
	return c
}

// Certificate returns the certificate for a host, which is an IP address or a
// name in lower case.
func (i *Issuer) Certificate(host string) (*tls.Certificate, error) {
	if i.now == nil {
		return &i.pair, nil
	}
	if c := i.fresh(host); c != nil {
		return c, nil
	}
	c, err, _ := i.flight.Do(host, func() (any, error) {
		if c := i.fresh(host); c != nil { // made since
			return c, nil
		}
		c, err := i.issue(host)
		if err != nil {
			return nil, fmt.Errorf("the CA cannot vouch for %s: %w", host, err)
		}
		i.kept.Add(host, c)
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(*tls.Certificate), nil
}

// fresh returns a leaf that is kept and not due for renewal, else nil.
func (i *Issuer) fresh(host string) *tls.Certificate {
	c, ok := i.kept.Get(host)
	if !ok {
		return nil
	}
	end := c.Leaf.NotAfter
	if end.Before(i.pair.Leaf.NotAfter) { // another would live longer
		end = end.Add(-renewal)
	}
	if i.now().After(end) {
		return nil
	}
	return c
}

func (i *Issuer) issue(host string) (*tls.Certificate, error) {
	now, ca := i.now(), i.pair.Leaf
	template := &x509.Certificate{
		// No common name: OpenSSL would hold an address there against the
		// constraints on domains.
		Subject:   pkix.Name{Organization: []string{"Shoal proxy"}},
		NotBefore: later(now.Add(-backdate), ca.NotBefore), NotAfter: earlier(now.Add(lifetime), ca.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = serial(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), i.pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// No name to verify: it is in the certificate, and may have an underscore.
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: i.roots, CurrentTime: now}); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, i.chain...), PrivateKey: key, Leaf: leaf}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
