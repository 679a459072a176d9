package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo/undotest"
)

const (
	testMirror = "http://127.0.0.1:65001"
	stateDir   = "/var/lib/shoal/install/containerd"
)

// scenario is a folder of testdata.
type scenario struct {
	undotest.Scenario
	options Options
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	var all []scenario
	for _, found := range undotest.Scenarios(t) {
		s := scenario{found, Options{Mirror: testMirror}}
		for _, a := range s.Args {
			switch name, value := a[0], a[1]; name {
			case "version":
				s.options.Version = value
			case "mirror":
				s.options.Mirror = value
			case "registry":
				s.options.Registries = append(s.options.Registries, value)
			default:
				t.Fatalf("%s: %q", s.Name, name)
			}
		}
		all = append(all, s)
	}
	return all
}

func TestInstallThenUninstallGivesBackEveryByte(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			s.GivesBackEveryByte(t, func(root string, dryRun bool) (*Result, error) {
				o := s.options
				o.Root, o.DryRun = root, dryRun
				return Install(t.Context(), o)
			}, Uninstall)
		})
	}
}

// TestContainerdTakesTheMirrorFirst reads each hosts.toml of the golden trees
// with containerd's own loader, and compares with what it made of the tree
// before.
func TestContainerdTakesTheMirrorFirst(t *testing.T) {
	count := 0
	for _, s := range scenarios(t) {
		o := s.options
		o.Root = s.Start(t)
		before := t.TempDir()
		undotest.CopyTree(t, o.Root, before)
		if _, err := Install(t.Context(), o); err != nil {
			continue
		}
		files, err := filepath.Glob(filepath.Join(o.Root, "etc/*/certs.d/*/hosts.toml"))
		require.NoError(t, err)
		for _, file := range files {
			rel, err := filepath.Rel(o.Root, file)
			require.NoError(t, err)
			t.Run(s.Name+"/"+rel, func(t *testing.T) {
				was, now := endpoints(t, before, rel), endpoints(t, o.Root, rel)
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				if !strings.Contains(string(text), strings.TrimSuffix(o.Mirror, "/")) {
					require.Equal(t, was, now) // not ours to change
					return
				}
				count++
				require.Equal(t, strings.TrimSuffix(o.Mirror, "/")+"/v2 pull,resolve", now[0])
				require.Equal(t, was, now[len(now)-len(was):], "the others come after it, as they were")
				require.LessOrEqual(t, len(now)-len(was), 1)
			})
		}
	}
	require.Greater(t, count, 20)
}

// endpoints are what containerd asks, in order and with what credentials, with
// the folder of a hosts.toml, or with _default where there is none.
func endpoints(t *testing.T, root, rel string) []string {
	t.Helper()
	own := t.TempDir()
	dir := filepath.Dir(filepath.Join(root, rel))
	if _, err := os.Stat(dir); err != nil {
		dir, err = config.HostDirFromRoot(filepath.Dir(dir))(filepath.Base(dir))
		if err != nil {
			dir = t.TempDir()
		}
	}
	dir, err := filepath.EvalSymlinks(strings.Replace(dir, "index.docker.io", "docker.io", 1))
	require.NoError(t, err)
	undotest.CopyTree(t, dir, own)
	entries, err := os.ReadDir(own)
	require.NoError(t, err)
	for _, e := range entries {
		path := filepath.Join(own, e.Name())
		if e.Name() != "hosts.toml" {
			require.NoError(t, os.WriteFile(path, testCertificate(t), 0o600))
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		site := filepath.Join(t.TempDir(), "site.crt")
		require.NoError(t, os.WriteFile(site, testCertificate(t), 0o600))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/etc/ssl/site.crt", site)), 0o600))
	}
	all, err := config.ConfigureHosts(t.Context(), config.HostOptions{HostDir: func(string) (string, error) { return own, nil }})("registry.test")
	require.NoError(t, err)
	var out []string
	for _, h := range all {
		var can []string
		for i, name := range []string{"pull", "resolve", "push", "referrers"} {
			if h.Capabilities&(1<<i) != 0 {
				can = append(can, name)
			}
		}
		line := fmt.Sprintf("%s://%s%s %s", h.Scheme, h.Host, h.Path, strings.Join(can, ","))
		if len(h.Header) > 0 {
			line += fmt.Sprintf(" %v", h.Header)
		}
		if c := h.Client.Transport.(*http.Transport).TLSClientConfig; c.RootCAs != nil || len(c.Certificates) > 0 || c.InsecureSkipVerify {
			line += fmt.Sprintf(" ca %t, %d client certificates, insecure %t", c.RootCAs != nil, len(c.Certificates), c.InsecureSkipVerify)
		}
		out = append(out, line)
	}
	return out
}

// testCertificate is a certificate and its key, in one file.
var testCertificate = func() func(t *testing.T) []byte {
	var pair []byte
	return func(t *testing.T) []byte {
		if pair == nil {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
			require.NoError(t, err)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
			pair = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
		}
		return pair
	}
}()
