//go:build e2e

package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

// mirrorOf is how clients that know no mirrors name one: as the registry.
const mirrorOf = "127.0.0.1:65001"

func TestClientsPullThroughTheMirror(t *testing.T) {
	c, img := build(t, testbed.Options{Nodes: 1, Store: "local", AgentFlags: []string{"--mirror-default-registry", testbed.Registry}}, 2, 2*mib)
	n := c.Nodes[0]
	dir := t.TempDir()
	tool := func(name string) string { return filepath.Join(modern(t), name) }
	run := func(t *testing.T, name string, args ...string) string {
		cmd := n.Command(t.Context(), "env", append([]string{"HOME=" + dir, name}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	want, err := img.Digest()
	require.NoError(t, err)
	blobs, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	layer := blobs[len(blobs)-1].Digest[len("sha256:"):]
	ref := mirrorOf + "/test/app:v1"
	payload := filepath.Join(dir, "payload")
	require.NoError(t, os.WriteFile(payload, bytes.Repeat([]byte("shoal"), 100_000), 0o644))

	pulls := map[string]func(t *testing.T){
		"skopeo": func(t *testing.T) {
			run(t, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+dir+"/skopeo")
			require.FileExists(t, filepath.Join(dir, "skopeo", layer))
		},
		"podman": func(t *testing.T) {
			short, err := os.MkdirTemp("", "podman") // it refuses long paths
			require.NoError(t, err)
			defer os.RemoveAll(short)
			store := []string{"--root", short + "/root", "--runroot", short + "/run", "--storage-driver", "vfs"}
			run(t, "podman", append(store, "pull", "--tls-verify=false", ref)...)
			require.Contains(t, run(t, "podman", append(store, "images", "--digests")...), want.String())
		},
		"crane": func(t *testing.T) {
			run(t, tool("crane"), "validate", "--insecure", "--remote", ref)
			require.Contains(t, run(t, tool("crane"), "digest", "--insecure", ref), want.String())
		},
		"regctl": func(t *testing.T) {
			run(t, tool("regctl"), "--host", "reg="+mirrorOf+",tls=disabled", "image", "export", ref, "regctl.tar")
			info, err := os.Stat(filepath.Join(dir, "regctl.tar"))
			require.NoError(t, err)
			require.Greater(t, info.Size(), total)
		},
		"oras": func(t *testing.T) {
			run(t, tool("oras"), "push", "--plain-http", testbed.Registry+"/test/artifact:v1", "payload")
			run(t, tool("oras"), "pull", "--plain-http", "-o", "oras", mirrorOf+"/test/artifact:v1")
			requireSameFile(t, payload, filepath.Join(dir, "oras", "payload"))
		},
		"helm": func(t *testing.T) {
			run(t, tool("helm"), "create", "chart")
			run(t, tool("helm"), "package", "chart")
			run(t, tool("helm"), "push", "--plain-http", "chart-0.1.0.tgz", "oci://"+testbed.Registry+"/test")
			run(t, tool("helm"), "pull", "--plain-http", "-d", "helm", "oci://"+mirrorOf+"/test/chart", "--version", "0.1.0")
			requireSameFile(t, filepath.Join(dir, "chart-0.1.0.tgz"), filepath.Join(dir, "helm", "chart-0.1.0.tgz"))
		},
		"shoal": func(t *testing.T) {
			shoal, err := filepath.Abs("../bin/shoal")
			require.NoError(t, err)
			out := run(t, shoal, "pull", testbed.Registry+"/test/app:v1")
			require.Contains(t, out, want.String())
			require.Contains(t, run(t, shoal, "status"), "connected")
		},
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "helm"), 0o755))
	for name, pull := range pulls {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			pull(t)
			t.Logf("%s: %.1f s", name, time.Since(start).Seconds())
		})
	}
}

func requireSameFile(t *testing.T, want, got string) {
	t.Helper()
	a, err := os.ReadFile(want)
	require.NoError(t, err)
	b, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b), "%s and %s differ", want, got)
}
