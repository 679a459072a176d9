package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// create makes a CA in a new directory and returns its files.
func create(t testing.TB, o Options) (certFile, keyFile string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if o.ValidFor == 0 {
		o.ValidFor = 1000 * time.Hour
	}
	o.Name = "test CA"
	require.NoError(t, Create(dir, o))
	return filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)
}

// clock is one that stands.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// issuerAt is an issuer with that clock.
func issuerAt(t testing.TB, c *clock, o Options) *Issuer {
	t.Helper()
	certFile, keyFile := create(t, o)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	i, err := newIssuer(pair, certFile, c.now)
	require.NoError(t, err)
	return i
}

func TestACAIsForItsOwnerAlone(t *testing.T) {
	certFile, keyFile := create(t, Options{})
	for file, want := range map[string]os.FileMode{certFile: 0o644, keyFile: 0o600} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm())
	}
	_, err := Load(certFile, keyFile)
	require.NoError(t, err)
	_, err = Load(certFile, "/none")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "set proxy.hijack_https.key")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		require.NoError(t, os.Chmod(keyFile, mode))
		_, err = Load(certFile, keyFile)
		require.ErrorContains(t, err, fmt.Sprintf("mode %04o", mode))
		require.ErrorContains(t, err, "chmod 600 "+keyFile)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	for _, name := range []string{CertFile, KeyFile} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600))
		require.ErrorContains(t, Create(dir, Options{ValidFor: time.Hour}), name+" exists")
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1, "half a pair is left")
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "mine", string(text))
	}
}

func TestALeafIsForItsHostAndShortLived(t *testing.T) {
	c := &clock{time.Now()}
	i := issuerAt(t, c, Options{})
	for host, want := range map[string]string{"registry.example": "registry.example", "10.0.0.1": "10.0.0.1", "fd00::1": "[fd00::1]", "a_b.example": "", strings.Repeat("a.", 40) + "example": strings.Repeat("a.", 40) + "example"} {
		cert, err := i.Certificate(host)
		require.NoError(t, err, host)
		if want != "" { // package x509 verifies no name with an underscore
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: i.roots, DNSName: want})
			require.NoError(t, err, host)
		}
		require.Len(t, append(cert.Leaf.DNSNames, make([]string, len(cert.Leaf.IPAddresses))...), 1)
		require.WithinDuration(t, c.Add(lifetime), cert.Leaf.NotAfter, 2*time.Second)
		require.WithinDuration(t, c.Add(-backdate), cert.Leaf.NotBefore, 2*time.Second)
		require.False(t, cert.Leaf.IsCA)
		require.NotEqual(t, i.pair.Leaf.PublicKey, cert.Leaf.PublicKey)
		require.Len(t, cert.Certificate, 1, "a root is not sent")
	}
}

func TestALeafIsMadeOnceAndRenewedBeforeItEnds(t *testing.T) {
	c := &clock{time.Now()}
	i := issuerAt(t, c, Options{})
	var all sync.Map
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			cert, err := i.Certificate("a.example")
			if err == nil {
				all.Store(cert, true)
			}
		})
	}
	asking.Wait()
	var first *tls.Certificate
	n := 0
	all.Range(func(k, _ any) bool { first, n = k.(*tls.Certificate), n+1; return true })
	require.Equal(t, 1, n)

	c.Time = c.Add(lifetime - renewal - time.Minute)
	same, err := i.Certificate("a.example")
	require.NoError(t, err)
	require.Same(t, first, same)
	c.Time = c.Add(2 * time.Minute)
	next, err := i.Certificate("a.example")
	require.NoError(t, err)
	require.NotSame(t, first, next)
	require.True(t, next.Leaf.NotAfter.After(first.Leaf.NotAfter))
}

func TestALeafDoesNotOutliveItsCA(t *testing.T) {
	c := &clock{time.Now()}
	i := issuerAt(t, c, Options{ValidFor: 2 * time.Hour})
	cert, err := i.Certificate("a.example")
	require.NoError(t, err)
	require.Equal(t, i.pair.Leaf.NotAfter, cert.Leaf.NotAfter)
	again, err := i.Certificate("a.example")
	require.NoError(t, err)
	require.Same(t, cert, again, "another would not live longer")
	c.Time = c.Add(3 * time.Hour)
	_, err = i.Certificate("a.example")
	require.ErrorContains(t, err, "expired")
}

func TestHowManyLeavesAreKeptIsBounded(t *testing.T) {
	i := issuerAt(t, &clock{time.Now()}, Options{})
	i.kept.Resize(10)
	for n := range 30 {
		_, err := i.Certificate(fmt.Sprintf("h%d.example", n))
		require.NoError(t, err)
	}
	require.Equal(t, 10, i.kept.Len())
}

func TestNameConstraintsHold(t *testing.T) {
	for _, c := range []struct{ constraints, allowed, forbidden []string }{
		{[]string{"example.com"}, []string{"example.com", "a.b.example.com"}, []string{"example.org", "notexample.com", "10.0.0.1", "fd00::1"}},
		{[]string{"10.0.0.0/8"}, []string{"10.1.2.3"}, []string{"11.0.0.1", "fd00::1", "example.com", "localhost"}},
		{[]string{"Example.COM", "fd00::/8", "10.0.0.1"}, []string{"example.com", "fd00::9", "10.0.0.1"}, []string{"example.org", "10.0.0.2", "fe00::1"}},
		{nil, []string{"example.com", "10.0.0.1", "fd00::1"}, nil},
	} {
		i := issuerAt(t, &clock{time.Now()}, Options{Constraints: c.constraints})
		for _, host := range c.allowed {
			_, err := i.Certificate(host)
			require.NoError(t, err, "%v %s", c.constraints, host)
		}
		for _, host := range c.forbidden {
			_, err := i.Certificate(host)
			require.ErrorContains(t, err, "the CA cannot vouch for "+host, "%v", c.constraints)
		}
	}
	for _, bad := range []string{"", "a b", "http://a", "10.0.0.0/99", "*.example.com", ".example.com"} {
		require.ErrorContains(t, Create(t.TempDir(), Options{ValidFor: time.Hour, Constraints: []string{bad}}), "name constraint", bad)
	}
}

func TestPairsThatCannotServeAreRefused(t *testing.T) {
	dir := t.TempDir()
	put := func(template *x509.Certificate) (certFile, keyFile string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "x"}
		if template.NotAfter.IsZero() {
			template.NotAfter = time.Now().Add(time.Hour)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		certFile, keyFile = filepath.Join(dir, "c"), filepath.Join(dir, "k")
		require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
		require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
		return certFile, keyFile
	}
	_, err := Load(put(&x509.Certificate{NotAfter: time.Now().Add(-time.Hour)}))
	require.ErrorContains(t, err, "make another with shoal gen-ca")
	_, err = Load(put(&x509.Certificate{NotBefore: time.Now().Add(time.Minute)}))
	require.ErrorContains(t, err, "is valid from")
	_, err = Load(put(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign}))
	require.ErrorContains(t, err, "must not sign")
	certFile, _ := create(t, Options{})
	_, keyFile := create(t, Options{})
	_, err = Load(certFile, keyFile)
	require.ErrorContains(t, err, "does not match")
	_, err = Load("/none", keyFile)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(certFile, "/none")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(keyFile, []byte("nonsense"), 0o600))
	_, err = Load(certFile, keyFile)
	require.ErrorContains(t, err, "cannot be read")

	static, err := Load(put(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}))
	require.NoError(t, err)
	cert, err := static.Certificate("any.example")
	require.NoError(t, err)
	require.Equal(t, static.pair.Certificate, cert.Certificate)
}

func TestACAUnderAnotherSendsItsChain(t *testing.T) {
	c := &clock{time.Now()}
	root := issuerAt(t, c, Options{})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	root.pair.Leaf.MaxPathLen, root.pair.Leaf.MaxPathLenZero = -1, false
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "below"}, NotBefore: c.Add(-time.Hour), NotAfter: c.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root.pair.Leaf, key.Public(), root.pair.PrivateKey)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	i, err := newIssuer(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, "below", c.now)
	require.NoError(t, err)
	cert, err := i.Certificate("a.example")
	require.NoError(t, err)
	require.Equal(t, der, cert.Certificate[1])
}

func FuzzConstraints(f *testing.F) {
	for _, s := range []string{"example.com", "10.0.0.0/8", "fd00::1", "fe80::1%eth0", "*.a", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c x509.Certificate
		if constrain(&c, []string{s}) != nil {
			return
		}
		if len(c.PermittedDNSDomains)+len(c.PermittedIPRanges) != 1 || len(c.ExcludedDNSDomains)+len(c.ExcludedIPRanges) == 0 {
			t.Fatalf("%q permits %v %v", s, c.PermittedDNSDomains, c.PermittedIPRanges)
		}
	})
}

// BenchmarkIssue issues for 1,000 hosts each time, and reports the slowest but
// ten of them.
func BenchmarkIssue(b *testing.B) {
	certFile, keyFile := create(b, Options{})
	var took []time.Duration
	for b.Loop() {
		i, err := Load(certFile, keyFile)
		if err != nil {
			b.Fatal(err)
		}
		var failed error
		for n := range 1000 {
			start := time.Now()
			_, err := i.Certificate(fmt.Sprintf("host%d.example", n))
			took = append(took, time.Since(start))
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			b.Fatal(failed)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms/host")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms/host")
	b.ReportMetric(0, "ns/op") // of a thousand hosts
}
