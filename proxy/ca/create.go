package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say what a new CA may sign.
type Options struct {
	// Name is its common name.
	Name string
	// Constraints are what it may sign for: domains, which stand for their
	// subdomains too, addresses and networks (10.0.0.0/8). None means
	// everything. Names of a kind that is not among them are forbidden.
	Constraints []string
	// ValidFor is how long it lives.
	ValidFor time.Duration
}

// Files of a CA in its directory.
const (
	CertFile = "ca.crt"
	KeyFile  = "ca.key"
)

// Create makes a CA and writes it into dir, which it makes if need be. Files
// that exist are never overwritten.
func Create(dir string, o Options) error {
	certPEM, keyPEM, err := generate(o, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	key := filepath.Join(dir, KeyFile)
	if err := write(key, keyPEM, 0o600); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, CertFile), certPEM, 0o644); err != nil {
		return errors.Join(err, os.Remove(key))
	}
	return nil
}

// write writes a new file, whatever the umask.
func write(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists, and who trusts that CA would not trust another: choose another directory, or remove it", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func generate(o Options, now time.Time) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: o.Name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(o.ValidFor),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if err := constrain(template, o.Constraints); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = serial(); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// constrain adds name constraints (RFC 5280, section 4.2.1.10).
func constrain(c *x509.Certificate, constraints []string) error {
	for _, s := range constraints {
		if prefix, err := parsePrefix(s); err == nil {
			c.PermittedIPRanges = append(c.PermittedIPRanges, ipNet(prefix))
		} else if name := strings.ToLower(s); IsName(name) {
			c.PermittedDNSDomains = append(c.PermittedDNSDomains, name)
		} else {
			return fmt.Errorf("name constraint %q is neither a domain such as example.com nor an address or network such as 10.0.0.0/8", s)
		}
	}
	if len(constraints) == 0 {
		return nil
	}
	c.PermittedDNSDomainsCritical = true
	if c.PermittedDNSDomains == nil {
		c.ExcludedDNSDomains = []string{""}
	}
	if c.PermittedIPRanges == nil {
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			c.ExcludedIPRanges = append(c.ExcludedIPRanges, ipNet(netip.MustParsePrefix(all)))
		}
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.WithZone("").Prefix(addr.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// IsName reports whether s can be the name of a host, in lower case: letters,
// digits, hyphens, and underscores, which are in use.
func IsName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func serial() (*big.Int, error) { return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) }
