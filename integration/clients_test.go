//go:build e2e

package integration

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testimage"
)

// client runs a program in a directory of its own and returns what it printed.
func client(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	if own := filepath.Join(modern(t), name); exists(own) {
		name = own
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", strings.Join(cmd.Args, " "), out)
	return strings.TrimSpace(string(out))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// requireLayout checks every blob of the image in an OCI layout.
func requireLayout(t *testing.T, img v1.Image, dir string) {
	t.Helper()
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	for _, b := range blobs {
		alg, hex, _ := strings.Cut(b.Digest, ":")
		data, err := os.ReadFile(filepath.Join(dir, "blobs", alg, hex))
		require.NoError(t, err)
		require.Equal(t, hex, fmt.Sprintf("%x", sha256.Sum256(data)))
	}
}

// TestClientsPull pulls with each client from a mirror that has nothing yet.
func TestClientsPull(t *testing.T) {
	registry := registryWithReferrers(t)
	img, err := testimage.Image(t.Name(), 2, 4*mib)
	require.NoError(t, err)
	require.NoError(t, testimage.Push(registry+"/test/app:v1", img, http.DefaultTransport))
	digest, err := img.Digest()
	require.NoError(t, err)

	for name, pull := range map[string]func(t *testing.T, dir, source string){
		"skopeo": func(t *testing.T, dir, source string) {
			client(t, dir, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+source, "oci:"+dir+"/out:v1")
			requireLayout(t, img, dir+"/out")
		},
		"crane": func(t *testing.T, dir, source string) {
			client(t, dir, "crane", "pull", "--insecure", "--format=oci", source, dir+"/out")
			requireLayout(t, img, dir+"/out")
		},
		"regctl": func(t *testing.T, dir, source string) {
			host, _, _ := strings.Cut(source, "/")
			client(t, dir, "regctl", "--host", "reg="+host+",tls=disabled", "image", "copy", source, "ocidir://out:v1")
			requireLayout(t, img, dir+"/out")
		},
		"oras": func(t *testing.T, dir, source string) {
			client(t, dir, "oras", "copy", "--from-plain-http", "--to-oci-layout", source, "out:v1")
			requireLayout(t, img, dir+"/out")
		},
		"podman": func(t *testing.T, dir, source string) {
			if os.Geteuid() != 0 {
				t.Skip("podman's storage here needs root")
			}
			podman := func(args ...string) string {
				own := []string{"--root", dir + "/s", "--runroot", dir + "/r", "--storage-driver", "vfs"}
				return client(t, dir, "podman", append(own, args...)...)
			}
			podman("pull", "--quiet", "--tls-verify=false", source)
			require.Equal(t, digest.String(), podman("image", "inspect", "--format", "{{.Digest}}", source))
		},
	} {
		t.Run(name, func(t *testing.T) {
			// By tag, then by digest from another mirror; Debian's clients would
			// take the second from their own cache.
			for _, ref := range []string{":v1", "@" + digest.String()} {
				pull(t, t.TempDir(), mirrorOf(t, registry)+"/test/app"+ref)
			}
			t.Log("by tag and by digest: every byte is right")
		})
	}
}

func TestORASPullsAnArtifactAndFindsItsReferrers(t *testing.T) {
	registry, dir := registryWithReferrers(t), t.TempDir()
	content := []byte(strings.Repeat("a weight matrix\n", 100_000))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.bin"), content, 0o644))
	subject := registry + "/test/model:v1"
	client(t, dir, "oras", "push", "--plain-http", "--artifact-type", "application/vnd.test.model", subject, "model.bin:application/octet-stream")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sbom.json"), []byte(`{"parts":[]}`), 0o644))
	client(t, dir, "oras", "attach", "--plain-http", "--artifact-type", "application/vnd.test.sbom", subject, "sbom.json:application/json")

	mirrored := mirrorOf(t, registry) + "/test/model:v1"
	out := t.TempDir()
	client(t, out, "oras", "pull", "--plain-http", mirrored)
	got, err := os.ReadFile(filepath.Join(out, "model.bin"))
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(content), sha256.Sum256(got))
	require.Contains(t, client(t, out, "oras", "discover", "--plain-http", "--format", "json", mirrored), "application/vnd.test.sbom")
}

func TestHelmPullsAChart(t *testing.T) {
	registry, dir := registryWithReferrers(t), t.TempDir()
	client(t, dir, "helm", "create", "app")
	client(t, dir, "helm", "package", "app", "--version", "1.2.3")
	client(t, dir, "helm", "push", "app-1.2.3.tgz", "oci://"+registry+"/charts", "--plain-http")
	want, err := os.ReadFile(filepath.Join(dir, "app-1.2.3.tgz"))
	require.NoError(t, err)

	out := t.TempDir()
	client(t, out, "helm", "pull", "oci://"+mirrorOf(t, registry)+"/charts/app", "--version", "1.2.3", "--plain-http")
	got, err := os.ReadFile(filepath.Join(out, "app-1.2.3.tgz"))
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(want), sha256.Sum256(got))
}
