//go:build e2e

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

const (
	private = "registry.example" // opened by the proxy
	closed  = "closed.example"   // not
)

// selfSigned is a certificate for names that only itself vouches for.
func selfSigned(t *testing.T, names ...string) (*tls.Config, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// dockerBehindProxy is a cluster with a registry that speaks HTTPS, and whose
// agents' proxies may look into what is asked of one of its names.
func dockerBehindProxy(t *testing.T) (c *testbed.Cluster, reg *registrytest.Registry, all []*testbed.Docker) {
	t.Helper()
	dir := t.TempDir()
	serve, upstream := selfSigned(t, private, closed, hubHost)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "upstream.crt"), upstream, 0o644))
	out, err := exec.CommandContext(t.Context(), "../bin/shoal", "gen-ca", "--out", dir, "--name-constraint", private, "--name-constraint", "docker.io").CombinedOutput()
	require.NoError(t, err, "%s", out)
	config := filepath.Join(dir, "shoal.yaml")
	require.NoError(t, os.WriteFile(config, []byte(strings.ReplaceAll(`proxy:
  hijack_https:
    cert: DIR/ca.crt
    key: DIR/ca.key
    hosts:
      - {regex: '^(registry\.example|registry-1\.docker\.io):443$', ca_file: DIR/upstream.crt}
  rules:
    - regex: ^https://(registry\.example|registry-1\.docker\.io)/
`, "DIR", dir)), 0o644))
	flags := []string{"--config", config}
	c, _ = build(t, testbed.Options{Nodes: 2, Store: "local", Names: []string{private, closed, hubHost}, AgentFlags: flags, SupernodeFlags: flags}, 1, 1)
	reg = registrytest.New(t)
	require.NoError(t, c.Serve(443, reg.Config.Handler, serve))
	own, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	require.NoError(t, err)
	for _, n := range c.Nodes {
		d, err := n.NewDocker()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(d.Config(), []byte("{\"shutdown-timeout\": 5}\n"), 0o644))
		for host, crt := range map[string][]byte{private: own, hubHost: own, closed: upstream} {
			require.NoError(t, os.MkdirAll(filepath.Dir(certOf(d, host)), 0o755))
			require.NoError(t, os.WriteFile(certOf(d, host), crt, 0o644))
		}
		all = append(all, d)
	}
	return c, reg, all
}

func TestDockerPullsFromAnyRegistryThroughTheProxy(t *testing.T) {
	next := map[string]string{
		"dockerd 20.10": "next: systemctl daemon-reload && systemctl restart docker\n",
		"moby 2.0":      "next: systemctl restart docker\n",
	}
	for version, program := range dockerds(t) {
		t.Run(version, func(t *testing.T) {
			c, reg, all := dockerBehindProxy(t)
			img, other := pushImage(t, reg, "team/app:v1"), pushImage(t, reg, "team/other:v1")
			reg.RequireBasic("alice", "secret")
			for i, d := range all {
				require.NoError(t, d.Start(t.Context(), program))
				status, said := dockersProxy(t, c.Nodes[i], d, private, "other.example")
				require.Equal(t, "warning", status)
				require.Contains(t, said, private+": dockerd has no proxy")
				require.Contains(t, said, "shoal install docker --proxy --docker-config "+d.Config())
				require.NotContains(t, said, certOf(d, private), "it is trusted already")
				require.Contains(t, said, certOf(d, "other.example"))
				require.Contains(t, installDocker(t, d, "--proxy", "--docker-socket", d.Socket()), next[version])
				require.NoError(t, d.Start(t.Context(), program))
				require.Equal(t, "http://127.0.0.1:65001 http://127.0.0.1:65001 localhost,127.0.0.0/8",
					docker(t, d, "info", "--format", "{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}"))
				status, said = dockersProxy(t, c.Nodes[i], d, private)
				require.Equal(t, "ok", status, said)
				status, said = dockersProxy(t, c.Nodes[i], d, closed)
				require.Equal(t, "warning", status, said)
				require.Contains(t, said, closed+": the agent's proxy tunnels it")
				for _, host := range []string{private, closed} {
					docker(t, d, "login", "--username", "alice", "--password", "secret", host)
				}
			}

			errs := make([]error, len(all))
			var wg sync.WaitGroup
			for i, d := range all {
				wg.Go(func() { _, errs[i] = d.Run(t.Context(), "pull", private+"/team/app:v1") })
			}
			wg.Wait()
			for i, d := range all {
				require.NoError(t, errs[i])
				requireImage(t, d, private+"/team/app:v1", img)
				from := sources(t, c.Nodes[i])
				require.Zero(t, from["upstream"])
				require.Equal(t, sizeOf(t, img), from["supernode"]+from["peer"])
			}
			require.Equal(t, sizeOf(t, img), reg.BlobBytes(), "each blob was read once")

			// What may not be looked into passes.
			before := sources(t, c.Nodes[0])
			docker(t, all[0], "pull", closed+"/team/other:v1")
			requireImage(t, all[0], closed+"/team/other:v1", other)
			require.Equal(t, before, sources(t, c.Nodes[0]))

			// A push goes to the registry, and comes back through the swarm.
			docker(t, all[0], "tag", closed+"/team/other:v1", private+"/team/pushed:v1")
			docker(t, all[0], "push", private+"/team/pushed:v1")
			require.Len(t, reg.Requests("^PUT /v2/team/pushed/manifests/v1$"), 1)
			read, got := reg.BlobBytes(), sources(t, c.Nodes[1])
			docker(t, all[1], "pull", private+"/team/pushed:v1")
			id := []string{"image", "inspect", "--format", "{{.Id}}", private + "/team/pushed:v1"}
			require.Equal(t, docker(t, all[0], id...), docker(t, all[1], id...))
			now := sources(t, c.Nodes[1])
			require.Greater(t, reg.BlobBytes()-read, int64(6*mib))
			require.Equal(t, reg.BlobBytes()-read, now["supernode"]+now["peer"]-got["supernode"]-got["peer"])

			// Who is not logged in gets nothing.
			docker(t, all[1], "logout", private)
			docker(t, all[1], "image", "rm", private+"/team/app:v1", private+"/team/pushed:v1")
			_, err := all[1].Run(t.Context(), "pull", private+"/team/app:v1")
			require.Error(t, err)
		})
	}
}

// TestDockerPullsPrivateImagesOfDockerHubThroughTheProxy is for dockerds that give
// mirrors no credentials, and go to Docker Hub itself instead.
func TestDockerPullsPrivateImagesOfDockerHubThroughTheProxy(t *testing.T) {
	c, reg, all := dockerBehindProxy(t)
	img := pushImage(t, reg, "team/private:v1")
	direct := reg.URL
	reg.URL = "https://" + hubHost // where it gives out tokens
	t.Cleanup(func() { reg.URL = direct })
	reg.RequireToken("alice", "secret")
	for i, d := range all {
		require.NoError(t, d.Start(t.Context(), dockerds(t)["moby 2.0"]))
		installDocker(t, d, "--proxy", "--docker-socket", d.Socket())
		require.NoError(t, d.Start(t.Context(), dockerds(t)["moby 2.0"]))
		_, err := d.Run(t.Context(), "pull", "team/private:v1")
		require.Error(t, err, "nobody is logged in")
		require.NoError(t, d.LogIn(hubLogin, "alice", "secret"))
		docker(t, d, "pull", "team/private:v1")
		requireImage(t, d, "team/private:v1", img)
		from := sources(t, c.Nodes[i])
		require.Equal(t, sizeOf(t, img), from["supernode"]+from["peer"])
	}
	require.Equal(t, sizeOf(t, img), reg.BlobBytes())
}

// certOf is where dockerd looks for the CA of a registry.
func certOf(d *testbed.Docker, registry string) string {
	return filepath.Join(filepath.Dir(d.Config()), "certs.d", registry, "ca.crt")
}

// dockersProxy is what doctor says of the way to registries. Whom the proxy opens
// the agent says itself.
func dockersProxy(t *testing.T, n *testbed.Node, d *testbed.Docker, registries ...string) (status, said string) {
	t.Helper()
	args := []string{"doctor", "-o", "json", "--check-timeout", "1m", "--docker-config", d.Config(), "--docker-socket", d.Socket()}
	for _, r := range registries {
		args = append(args, "--registry", r)
	}
	out, _ := n.Command(t.Context(), "../bin/shoal", args...).Output() // it fails for want of a containerd
	var all []struct{ Name, Status, Detail, Fix string }
	require.NoError(t, json.Unmarshal(out, &all), "%s", out)
	for _, r := range all {
		if r.Name == "Docker's proxy" {
			return r.Status, fmt.Sprintf("%s\n%s", r.Detail, r.Fix)
		}
	}
	t.Fatalf("no check of the proxy: %s", out)
	return "", ""
}
