package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/proxy/ca"
	"github.com/shoal-p2p/shoal/resolver"
)

// regexOf matches the address of a server alone.
func regexOf(s *httptest.Server) string {
	return "^" + regexp.QuoteMeta(s.Listener.Addr().String()) + "$"
}

func TestAnOpenedConnectionSpeaksEitherVersion(t *testing.T) {
	o := origin(t, (*httptest.Server).StartTLS)
	b := newBed(t, intercepting(t, regexOf(o), certOf(t, o)))
	for _, h2 := range []bool{true, false} {
		client := b.client()
		transport := client.Transport.(*http.Transport)
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(!h2)
		transport.Protocols.SetHTTP2(h2)
		got := b.get(client, o.URL+"/a|b?c", "Proxy-Authorization", "Basic c2VjcmV0", "X-A", "b")
		require.Equal(t, http.StatusOK, got.StatusCode)
		require.Equal(t, h2, got.ProtoMajor == 2)
		require.Contains(t, got.body, "X-A: b\r\n")
		require.NotContains(t, got.body, "Proxy-")
		require.NotContains(t, got.body, "Forwarded")
		leaf := got.TLS.PeerCertificates[0]
		require.Equal(t, "127.0.0.1", leaf.IPAddresses[0].String())
		require.NotEqual(t, o.Certificate().Raw, leaf.Raw)
	}
}

func TestNoOtherConnectionIsOpened(t *testing.T) {
	o := origin(t, (*httptest.Server).StartTLS)
	inside, outside := intercepting(t, regexOf(o), ""), intercepting(t, `^registry\.example:443$`, "")
	trust := x509.NewCertPool()
	trust.AddCert(o.Certificate())
	for name, c := range map[string]struct {
		option func(*proxy.Config)
		hello  *tls.Config
	}{
		"outside the hosts": {outside, &tls.Config{ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}}},
		"another name":      {inside, &tls.Config{ServerName: "example.com"}},
		"another protocol":  {inside, &tls.Config{ServerName: "127.0.0.1", NextProtos: []string{"imap"}}},
	} {
		b := newBed(t, c.option)
		c.hello.RootCAs = trust
		conn := tls.Client(b.connect(o.Listener.Addr().String()), c.hello)
		err := conn.Handshake()
		if name == "another protocol" { // the origin does not speak it either, and says so itself
			require.ErrorContains(t, err, "no application protocol", name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, o.Certificate().Raw, conn.ConnectionState().PeerCertificates[0].Raw, name)
	}
}

func TestAConnectionIsForItsHostAlone(t *testing.T) {
	o := origin(t, (*httptest.Server).StartTLS)
	b := newBed(t, intercepting(t, regexOf(o), certOf(t, o)))
	at := o.Listener.Addr().String()
	for host, want := range map[string]int{at: 200, "127.0.0.1": 421, "registry.example": 421, "127.0.0.1:1": 421, "x/y": 400} {
		inner := tls.Client(b.connect(at), &tls.Config{RootCAs: b.ca, ServerName: "127.0.0.1"})
		_, err := io.WriteString(inner, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		got, err := io.ReadAll(inner)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(got), fmt.Sprintf("HTTP/1.1 %d ", want)), "%s: %s", host, got)
	}
}

func TestCertificatesOfOriginsAreChecked(t *testing.T) {
	o := origin(t, (*httptest.Server).StartTLS)
	b := newBed(t, intercepting(t, regexOf(o), "")) // nobody vouches for it
	got := b.get(b.client(), o.URL)
	require.Equal(t, http.StatusBadGateway, got.StatusCode)
	require.Contains(t, got.body, "ca_file of proxy.hijack_https.hosts[]")

	b = newBed(t, intercepting(t, regexOf(o), ""), func(c *proxy.Config) { c.Intercept.Hosts[0].Insecure = true })
	require.Equal(t, http.StatusOK, b.get(b.client(), o.URL).StatusCode)
}

func TestAPairThatIsNoCAIsPresented(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, &x509.Certificate{}, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	o := origin(t, (*httptest.Server).StartTLS)
	b := newBed(t, func(c *proxy.Config) {
		c.Intercept = proxy.Intercept{CertFile: certFile, KeyFile: keyFile, Hosts: []resolver.Pattern{{Host: regexp.MustCompile(`.`), Insecure: true}}}
	})
	client := b.client()
	client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
	got := b.get(client, o.URL)
	require.Equal(t, der, got.TLS.PeerCertificates[0].Raw)
}

func TestWhatTheCAMustNotSignIsTunnelled(t *testing.T) {
	o := origin(t, (*httptest.Server).StartTLS)
	dir := t.TempDir()
	require.NoError(t, ca.Create(dir, ca.Options{Name: "x", ValidFor: time.Hour, Constraints: []string{"registry.example"}}))
	b := newBed(t, func(c *proxy.Config) {
		c.Intercept = proxy.Intercept{
			CertFile: filepath.Join(dir, ca.CertFile), KeyFile: filepath.Join(dir, ca.KeyFile),
			Hosts: []resolver.Pattern{{Host: regexp.MustCompile(`.`)}},
		}
	})
	client := b.client()
	trust := x509.NewCertPool()
	trust.AddCert(o.Certificate())
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = trust
	require.Equal(t, o.Certificate().Raw, b.get(client, o.URL).TLS.PeerCertificates[0].Raw)
}

func TestImpossibleConfigurationsAreRefused(t *testing.T) {
	mirror := http.NotFoundHandler()
	hosts := []resolver.Pattern{{Host: regexp.MustCompile(`.`)}}
	for want, cfg := range map[string]proxy.Config{
		"lacks a mirror or a guard":       {},
		"proxy.rules[0] has no regex":     {Mirror: mirror, Guard: proxy.NewGuard(nil), Rules: make([]proxy.Rule, 1)},
		"shoal gen-ca makes them":         {Mirror: mirror, Guard: proxy.NewGuard(nil), Intercept: proxy.Intercept{Hosts: hosts}},
		"set proxy.hijack_https.key to":   {Mirror: mirror, Guard: proxy.NewGuard(nil), Intercept: proxy.Intercept{Hosts: hosts, CertFile: "/none", KeyFile: "/none"}},
		"proxy.hijack_https.hosts[0]: ca": {Mirror: mirror, Guard: proxy.NewGuard(nil), Intercept: proxy.Intercept{Hosts: []resolver.Pattern{{Host: regexp.MustCompile(`.`), CAFile: "/none"}}, CertFile: "/none", KeyFile: "/none"}},
	} {
		_, err := proxy.New(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n", "an error is one line")
	}
}

func TestAHelloThatDoesNotEndIsBounded(t *testing.T) {
	addr := listener(t, echo)
	c := newBed(t, intercepting(t, `.`, "")).connect(addr)
	text := "\x16\x03\x01\x40\x00\x01\x00\xff\xff" + strings.Repeat("x", 200<<10) // says that it is 64 kB long
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, text+"end", string(got), "what is no TLS is tunnelled untouched")
}
