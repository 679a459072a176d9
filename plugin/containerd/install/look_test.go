package install

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// look reads a machine's configuration: files by path.
func look(t *testing.T, version string, files map[string]string) *Reading {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		at := filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, []byte(text), 0o600))
	}
	r, err := Look(root, "/etc/containerd/config.toml", version, nil)
	require.NoError(t, err)
	return r
}

func TestLookFindsTheFoldersOfEachVersion(t *testing.T) {
	const (
		v2 = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/a\"\n"
		v3 = "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/a:/b\"\n"
	)
	both := []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
	for name, c := range map[string]struct {
		version, config string
		want            []string
	}{
		"1.6 has none by default":        {"1.6.20~ds1", "", nil},
		"1.6":                            {"1.6.20~ds1", v2, []string{"/a"}},
		"2.0 has two by default":         {"v2.0.5", "", both},
		"2.4 ignores its own default":    {"v2.4.2", "", nil},
		"2.4 reads a file of 1.x":        {"v2.4.2", v2, []string{"/a"}},
		"2.4 ignores lists":              {"v2.4.2", v3, nil},
		"2.4 takes lists if CRI pulls":   {"v2.4.2", v3 + "[plugins.\"io.containerd.cri.v1.images\"]\n  use_local_image_pull = true\n", []string{"/a", "/b"}},
		"what nerdctl reads without CRI": {"v2.4.2", "disabled_plugins = [\"cri\"]\n", []string{"/etc/containerd/certs.d"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := look(t, c.version, map[string]string{"/etc/containerd/config.toml": c.config})
			require.Equal(t, c.want, append([]string(nil), r.Folders...))
			require.False(t, r.Changed.IsZero())
		})
	}
}

func TestLookReadsHostsAsContainerdDoes(t *testing.T) {
	const config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/a:/b\"\n"
	files := map[string]string{
		"/etc/containerd/config.toml":               config,
		"/a/docker.io/hosts.toml":                   "server = \"https://up\"\n[host.\"http://m:1\"]\n  capabilities = [\"pull\"]\n[host.\"http://m:1\".header]\n  x = \"y\"\n[host.\"https://n\"]\n",
		"/a/registry.example_5000_/hosts.toml":      "[host.\"http://m:2\"]\n",
		"/a/registry.example:5000/hosts.toml":       "[host.\"http://m:3\"]\n",
		"/a/_default/hosts.toml":                    "[host.\"http://m:4\"]\n",
		"/a/bad.example/hosts.toml":                 "[[[",
		"/a/hostless.example/hosts.toml":            "server = \"https://up\"\n",
		"/a/certificate.example/ca.crt":             "",
		"/b/hidden.example/hosts.toml":              "[host.\"http://m:5\"]\n",
		"/b/docker.io/hosts.toml":                   "[host.\"http://m:6\"]\n",
		"/b/not-a-folder":                           "",
		"/elsewhere/registry.example/hosts.toml":    "",
		"/b/_default/nothing-that-containerd-reads": "",
	}
	r := look(t, "1.7.27", files)
	of := func(registry string) Hosts {
		h, err := r.Of(registry)
		require.NoError(t, err)
		return h
	}
	require.Equal(t, Hosts{Registry: "docker.io", Dir: "/a/docker.io", Server: "https://up", Hosts: []Host{
		{URL: "http://m:1", Lacks: []string{"resolve"}}, {URL: "https://n"},
	}}, of("docker.io"))
	require.Equal(t, "http://m:2", of("registry.example:5000").Hosts[0].URL)
	require.Equal(t, "/a/_default", of("other.example").Dir)
	require.Equal(t, "/a/_default", of("hidden.example").Dir, "a _default hides what lies in the folders behind it")
	require.Contains(t, of("bad.example").Ignored, "not valid TOML")
	require.Contains(t, of("hostless.example").Ignored, "[host]", "in 1.x")
	require.Equal(t, Hosts{Registry: "certificate.example", Dir: "/a/certificate.example"}, of("certificate.example"))

	all, err := r.All()
	require.NoError(t, err)
	var names []string
	for _, h := range all {
		names = append(names, h.Registry)
	}
	require.ElementsMatch(t, []string{
		"docker.io", "registry.example_5000_", "registry.example:5000", "_default", "bad.example",
		"hostless.example", "certificate.example",
	}, names)
	dir, err := r.Dir(of("docker.io"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(r.tree.Root(), "a/docker.io"), dir)

	delete(files, "/a/_default/hosts.toml")
	require.Equal(t, "/b/hidden.example", func() string {
		r = look(t, "1.7.27", files)
		return of("hidden.example").Dir
	}())
	require.Equal(t, "/b/_default", of("other.example").Dir)
}

func TestLookTellsOfDiscardedLayers(t *testing.T) {
	for config, want := range map[string]string{
		"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  discard_unpacked_layers = true\n":  "/etc/containerd/config.toml",
		"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  discard_unpacked_layers = false\n": "",
		"version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\n  discard_unpacked_layers = true\n":           "/etc/containerd/config.toml",
		"": "",
	} {
		require.Equal(t, want, look(t, "v2.4.2", map[string]string{"/etc/containerd/config.toml": config}).Discards, config)
	}
}

func TestLookNeedsAVersion(t *testing.T) {
	_, err := Look("/", "/nothing", "next", nil)
	require.ErrorContains(t, err, `"next"`)
}
