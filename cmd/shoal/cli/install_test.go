package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// run runs a command line.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := New()
	cmd.SetOut(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestInstallTakesTheMirrorOfTheAgentsConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shoal.yaml")
	require.NoError(t, os.WriteFile(file, []byte("mirror: {listen: \":7000\"}\nsupernodes: [sn.example]\n"), 0o600))
	for want, args := range map[string][]string{
		"http://127.0.0.1:65001": nil,
		"http://127.0.0.1:7000":  {"--config", file},
		"http://10.0.0.1:9":      {"--mirror-listen", "10.0.0.1:9"},
		"http://[::1]:9":         {"--mirror", "http://[::1]:9"},
	} {
		root := t.TempDir()
		out, err := run(t, append([]string{"install", "containerd", "--root", root, "--containerd-version", "1.7.27"}, args...)...)
		require.NoError(t, err)
		require.Contains(t, out, "/etc/containerd/config.toml: config_path")
		require.Contains(t, out, "next: systemctl restart containerd\n")
		text, err := os.ReadFile(filepath.Join(root, "etc/containerd/certs.d/_default/hosts.toml"))
		require.NoError(t, err)
		require.Contains(t, string(text), "[host.\""+want+"\"]\n")

		out, err = run(t, "uninstall", "containerd", "--root", root)
		require.NoError(t, err)
		require.Contains(t, out, "/etc/containerd/certs.d/_default/hosts.toml: removed\n")
		entries, err := os.ReadDir(root)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

func TestInstallSaysWhenNothingIsToBeDone(t *testing.T) {
	root := t.TempDir()
	args := []string{"install", "containerd", "--root", root, "--containerd-version", "v2.0.5"}
	out, err := run(t, append(args, "--dry-run")...)
	require.NoError(t, err)
	require.Contains(t, out, "+++ b/etc/containerd/certs.d/_default/hosts.toml\n")
	out, err = run(t, args...)
	require.NoError(t, err)
	require.Contains(t, out, "no restart is needed")
	out, err = run(t, args...)
	require.NoError(t, err)
	require.Equal(t, "nothing to change\n", out)
	_, err = run(t, "uninstall", "containerd", "--root", root)
	require.NoError(t, err)
	out, err = run(t, "uninstall", "containerd", "--root", root)
	require.NoError(t, err)
	require.Equal(t, "nothing to change\n", out)
}

func TestInstallNeedsARuntime(t *testing.T) {
	for _, command := range []string{"install", "uninstall"} {
		_, err := run(t, command)
		require.ErrorContains(t, err, "name the container runtime: containerd or docker")
		_, err = run(t, command, "podman")
		require.ErrorContains(t, err, "podman")
	}
}

func TestInstallDocker(t *testing.T) {
	root := t.TempDir()
	args := []string{"install", "docker", "--root", root, "--mirror-listen", ":7000", "--docker-version", "28.1"}
	out, err := run(t, append(args, "--dry-run")...)
	require.NoError(t, err)
	require.Contains(t, out, "--- /dev/null\n+++ b/etc/docker/daemon.json\n@@ -0,0 +1,3 @@\n+{\n+  \"registry-mirrors\": [\"http://127.0.0.1:7000\"]\n+}\n")
	out, err = run(t, args...)
	require.NoError(t, err)
	require.Contains(t, out, "next: systemctl reload docker\n")
	out, err = run(t, append(args, "--proxy")...)
	require.NoError(t, err)
	require.Contains(t, out, "/etc/docker/daemon.json: the mirror comes first for Docker Hub, the proxy for all other registries\n")
	require.Contains(t, out, "next: systemctl restart docker\n")

	out, err = run(t, "uninstall", "docker", "--root", root)
	require.NoError(t, err)
	require.Contains(t, out, "/etc/docker/daemon.json: removed\n")
	require.Contains(t, out, "next: systemctl restart docker\n")
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	require.Empty(t, entries)
}
