package containerd

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
)

func TestDescribe(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		r := newRegistry(t, "image:1")
		s := newStore(t, d, "k8s.io", true)
		_, err := s.Pull(t.Context(), "registry.example/image:1", PullOptions{Mirror: r.host()})
		require.NoError(t, err)
		about, err := s.Describe(t.Context())
		require.NoError(t, err)
		require.Equal(t, d.Version, about.Version)
		require.Equal(t, d.ContentPath, about.ContentPath)
		require.Contains(t, about.Namespaces, Namespace{Name: "k8s.io", Images: 1})
		require.Positive(t, about.Process.PID)
		require.Equal(t, "/", about.Process.Root)
		require.Equal(t, filepath.Join(filepath.Dir(d.Address), "config.toml"), about.Process.Config)
		require.WithinRange(t, about.Process.Started, time.Now().Add(-time.Hour), time.Now().Add(2*time.Second))
		d.Stop(t)
		_, err = s.Describe(t.Context())
		require.ErrorContains(t, err, "check that containerd runs")
	})
}

// TestTry has a hosts.toml with a mirror that fails, and one that works.
func TestTry(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		r := newRegistry(t, "team/image:1")
		failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
		defer failing.Close()
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(
			"server = \"https://registry.invalid\"\n[host.\""+failing.URL+"\"]\n[host.\""+r.URL+"\"]\n"), 0o600))
		o := TrialOptions{HostDir: func(string) (string, error) { return dir, nil }}
		s := newStore(t, d, "default", true)
		blobs := func() (n int) {
			require.NoError(t, d.Client(t).ContentStore().Walk(namespaces.WithNamespace(t.Context(), "default"), func(content.Info) error {
				n++
				return nil
			}))
			return n
		}

		got, err := s.Try(t.Context(), "registry.invalid/team/image:1", o)
		require.NoError(t, err)
		require.Equal(t, "registry.invalid/team/image:1", got.Image)
		layers := int64(0)
		for i := range r.layers {
			_, b := r.layer(t, i)
			layers += int64(len(b))
		}
		require.Equal(t, layers, got.Fetched)
		require.Zero(t, got.Held)
		require.Greater(t, got.From[r.host()], layers, "layers and config")
		require.Len(t, got.From, 1)
		require.Equal(t, "502 Bad Gateway", got.Refused[strings.TrimPrefix(failing.URL, "http://")])

		ctx := namespaces.WithNamespace(t.Context(), "default")
		images, err := d.Client(t).ListImages(ctx)
		require.NoError(t, err)
		require.Empty(t, images)
		leases, err := d.Client(t).LeasesService().List(ctx)
		require.NoError(t, err)
		require.Empty(t, leases)
		require.Zero(t, blobs(), "nothing stays behind")

		// What is there already is not fetched, in whatever namespace it is.
		for _, namespace := range []string{"k8s.io", "default"} {
			_, err = newStore(t, d, namespace, true).Pull(t.Context(), "registry.invalid/team/image:1", PullOptions{Mirror: r.host()})
			require.NoError(t, err)
			got, err = s.Try(t.Context(), "registry.invalid/team/image:1", o)
			require.NoError(t, err)
			require.Zero(t, got.Fetched)
			require.Equal(t, layers, got.Held)
			require.Positive(t, got.From[r.host()], "the beginning of a layer is read all the same")
		}
		require.Equal(t, 4, blobs(), "what others have stays")

		_, err = s.Try(t.Context(), "registry.invalid/other:1", TrialOptions{})
		require.Error(t, err)
	})
}

func TestTheConfigurationThatACommandLineNames(t *testing.T) {
	for line, want := range map[string]string{
		"":                               "",
		"--config /a.toml":               "/a.toml",
		"--config=/a.toml":               "/a.toml",
		"-c /a.toml -a /run/c.sock":      "/a.toml",
		"--log-level debug -c /a.toml":   "/a.toml",
		"--config":                       "",
		"--root /config --state /config": "",
	} {
		require.Equal(t, want, configFlag(strings.Fields(line)), line)
	}
}
