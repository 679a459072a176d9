package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// Load reads a pair: a CA's, which then signs a leaf for each host, or any other,
// which is presented as it is. certFile may hold the rest of the chain, too.
func Load(certFile, keyFile string) (*Issuer, error) {
	if err := checkMode(keyFile); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("the pair of %s and %s cannot be read: %w", certFile, keyFile, err)
	}
	return newIssuer(pair, certFile, time.Now)
}

// checkMode refuses a key that others can read.
func checkMode(keyFile string) error {
	info, err := os.Stat(keyFile)
	if err != nil {
		return fmt.Errorf("the key cannot be read: %w; set proxy.hijack_https.key to where it is, or make a CA with shoal gen-ca", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("the key %s is open to other users (mode %04o), who could pose as any host: chmod 600 %s", keyFile, mode, keyFile)
	}
	return nil
}

func newIssuer(pair tls.Certificate, name string, now func() time.Time) (*Issuer, error) {
	c := pair.Leaf
	if t := now(); t.After(c.NotAfter) || t.Before(c.NotBefore) {
		return nil, fmt.Errorf("the certificate %s is valid from %s to %s only: make another with shoal gen-ca",
			name, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	if !c.IsCA {
		return &Issuer{pair: pair}, nil
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("the certificate %s is a CA that must not sign certificates (key usage)", name)
	}
	i := &Issuer{pair: pair, now: now, roots: x509.NewCertPool(), kept: newCache()}
	i.roots.AddCert(c)
	if !selfSigned(c) { // who connects may not have it
		i.chain = pair.Certificate
	}
	return i, nil
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil
}
