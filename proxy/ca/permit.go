package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Permits returns nil if clients accept what a pair with this certificate has for a
// host, which is an IP address or a name in lower case, else why they do not. It
// needs no key, for those who must not read that.
func Permits(c *x509.Certificate, host string) error {
	if !c.IsCA {
		return c.VerifyHostname(host)
	}
	i, err := standIn(c)
	if err != nil {
		return err
	}
	_, err = i.Certificate(host)
	return err
}

// standIn is an issuer that may do what one with this certificate may, with
// another key.
func standIn(c *x509.Certificate) (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := *c
	template.SignatureAlgorithm, template.PublicKey, template.ExtraExtensions = 0, nil, nil
	template.AuthorityKeyId, template.SubjectKeyId = nil, nil
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("the certificate of the CA cannot be judged: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return newIssuer(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, "of the CA", time.Now)
}

// Constraints are the domains and networks that a CA may sign for alone, as
// [Options] has them; none if it may sign for everything.
func Constraints(c *x509.Certificate) (all []string) {
	all = append(all, c.PermittedDNSDomains...)
	for _, n := range c.PermittedIPRanges {
		all = append(all, n.String())
	}
	return all
}
