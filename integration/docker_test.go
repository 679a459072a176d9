//go:build e2e

package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// hubHost is where Docker Hub answers, hubLogin what its credentials are filed
// under.
const (
	hubHost  = "registry-1.docker.io"
	hubLogin = "https://index.docker.io/v1/"
)

// dockerds are the versions that everything must work with: Debian's, with
// Docker's own image store, and a current one with that of containerd.
func dockerds(t *testing.T) map[string]string {
	return map[string]string{"dockerd 20.10": "/usr/sbin/dockerd", "moby 2.0": filepath.Join(modern(t), "dockerd")}
}

// dockerCluster is a cluster with a registry that stands for Docker Hub, and a
// dockerd on each node that is not started yet.
func dockerCluster(t *testing.T, nodes int) (*testbed.Cluster, *registrytest.Registry, []*testbed.Docker) {
	t.Helper()
	plain := []string{"--plain-http", "docker.io"}
	c, _ := build(t, testbed.Options{Nodes: nodes, Store: "local", Names: []string{hubHost}, AgentFlags: plain, SupernodeFlags: plain}, 1, 1)
	hub := registrytest.New(t)
	direct := hub.URL
	hub.URL = "http://" + hubHost // where it gives out tokens
	t.Cleanup(func() { hub.URL = direct })
	require.NoError(t, c.Serve(80, hub.Config.Handler, nil))
	var all []*testbed.Docker
	for _, n := range c.Nodes {
		d, err := n.NewDocker()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(d.Config(), []byte("{\n    \"shutdown-timeout\": 5\n}"), 0o644))
		all = append(all, d)
	}
	return c, hub, all
}

func installDocker(t *testing.T, d *testbed.Docker, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../bin/shoal", append([]string{"install", "docker", "--root", d.Root()}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// pushImage pushes an image of about 7 MiB.
func pushImage(t *testing.T, to *registrytest.Registry, name string) v1.Image {
	t.Helper()
	img, err := testimage.Image(t.Name()+name, 2, 3*mib)
	require.NoError(t, err)
	require.NoError(t, testimage.Push(to.Host()+"/"+name, img, http.DefaultTransport))
	return img
}

// sizeOf is that of the blobs of images; what they share counts once.
func sizeOf(t *testing.T, images ...v1.Image) int64 {
	t.Helper()
	sizes, sum := map[string]int64{}, int64(0)
	for _, img := range images {
		blobs, _, err := testimage.Blobs(img)
		require.NoError(t, err)
		for _, b := range blobs {
			sizes[b.Digest] = b.Size
		}
	}
	for _, n := range sizes {
		sum += n
	}
	return sum
}

// requireImage checks that dockerd has an image, by the digest of its manifest.
func requireImage(t *testing.T, d *testbed.Docker, image string, img v1.Image) {
	t.Helper()
	want, err := img.Digest()
	require.NoError(t, err)
	got, err := d.Run(t.Context(), "image", "inspect", "--format", "{{index .RepoDigests 0}}", image)
	require.NoError(t, err)
	require.Contains(t, got, "@"+want.String())
}

// requireSwarm checks that all that a node has received are the blobs of some
// images, in part from another node.
func requireSwarm(t *testing.T, n *testbed.Node, images ...v1.Image) {
	t.Helper()
	from := sources(t, n)
	require.Zero(t, from["upstream"])
	require.Positive(t, from["peer"])
	require.Equal(t, sizeOf(t, images...), from["supernode"]+from["peer"])
}

func docker(t *testing.T, d *testbed.Docker, args ...string) string {
	t.Helper()
	out, err := d.Run(t.Context(), args...)
	require.NoError(t, err)
	return out
}

// TestDockerAcceptsWhatIsInstalled has a dockerd check what the tests of the editor
// expect it to write.
func TestDockerAcceptsWhatIsInstalled(t *testing.T) {
	files, err := filepath.Glob("../plugin/docker/testdata/*/after/etc/docker/daemon.json")
	require.NoError(t, err)
	accepted := 0
	for _, file := range files {
		said, err := os.ReadFile(filepath.Join(file, "../../../../output"))
		require.NoError(t, err)
		if strings.HasPrefix(string(said), "error:") {
			continue // it was refused, and is as it was
		}
		out, err := exec.CommandContext(t.Context(), dockerds(t)["moby 2.0"], "--validate", "--config-file", file).CombinedOutput()
		require.NoError(t, err, "%s: %s", file, out)
		accepted++
	}
	require.Greater(t, accepted, 15)
}

func TestDockerPullsFromDockerHubThroughTheSwarm(t *testing.T) {
	for version, program := range dockerds(t) {
		t.Run(version, func(t *testing.T) {
			c, hub, all := dockerCluster(t, 3)
			for _, d := range all {
				require.Contains(t, installDocker(t, d), "next: systemctl reload docker")
				require.NoError(t, d.Start(t.Context(), program))
			}
			app, team := pushImage(t, hub, "library/app:v1"), pushImage(t, hub, "team/app:v1")
			total := sizeOf(t, app, team)

			var wg sync.WaitGroup
			names := []string{"app:v1", "docker.io/library/app:v1"}
			errs := make([]error, 2)
			for i, d := range all[:2] {
				wg.Go(func() {
					for _, name := range []string{names[i], "team/app:v1"} {
						if _, err := d.Run(t.Context(), "pull", name); err != nil {
							errs[i] = err
						}
					}
				})
			}
			wg.Wait()
			for i, d := range all[:2] {
				require.NoError(t, errs[i])
				requireImage(t, d, "app:v1", app)
				requireImage(t, d, "team/app:v1", team)
				from := sources(t, c.Nodes[i])
				require.Zero(t, from["upstream"])
				require.Equal(t, total, from["supernode"]+from["peer"])
			}
			require.Equal(t, total, hub.BlobBytes(), "each blob was read once")

			late := all[2]
			docker(t, late, "pull", "library/app:v1")
			requireImage(t, late, "app:v1", app)
			requireSwarm(t, c.Nodes[2], app)
			require.Equal(t, total, hub.BlobBytes())
			if version == "dockerd 20.10" { // the other one needs a newer runc than Debian's
				require.Contains(t, docker(t, late, "run", "--rm", "--network", "none", "app:v1", "/bin/sh", "-c", "echo it runs"), "it runs")
			}
		})
	}
}

// TestDockerPullsPrivateImagesWithItsOwnLogin is for Docker's own image store alone:
// with that of containerd, dockerd gives mirrors no credentials and goes to Docker
// Hub itself.
func TestDockerPullsPrivateImagesWithItsOwnLogin(t *testing.T) {
	c, hub, all := dockerCluster(t, 2)
	for _, d := range all {
		installDocker(t, d)
		require.NoError(t, d.Start(t.Context(), dockerds(t)["dockerd 20.10"]))
	}
	img := pushImage(t, hub, "team/private:v1")
	hub.RequireToken("alice", "secret")
	logIn := func(d *testbed.Docker, password string) {
		require.NoError(t, d.LogIn(hubLogin, "alice", password))
	}
	logIn(all[0], "secret")
	docker(t, all[0], "pull", "team/private:v1")
	requireImage(t, all[0], "team/private:v1", img)

	// Another one gets nothing, although its node could have all of it.
	before := sources(t, c.Nodes[1])
	_, err := all[1].Run(t.Context(), "pull", "team/private:v1")
	require.Error(t, err)
	logIn(all[1], "wrong")
	_, err = all[1].Run(t.Context(), "pull", "team/private:v1")
	require.Error(t, err)
	require.Equal(t, before, sources(t, c.Nodes[1]))

	logIn(all[1], "secret")
	docker(t, all[1], "pull", "team/private:v1")
	requireImage(t, all[1], "team/private:v1", img)
	requireSwarm(t, c.Nodes[1], img)
	require.Equal(t, sizeOf(t, img), hub.BlobBytes())
}

// TestDockerTakesTheMirrorAtAReload follows install and uninstall while dockerd
// runs.
func TestDockerTakesTheMirrorAtAReload(t *testing.T) {
	for version, program := range dockerds(t) {
		t.Run(version, func(t *testing.T) {
			_, hub, all := dockerCluster(t, 1)
			d := all[0]
			before, err := os.ReadFile(d.Config())
			require.NoError(t, err)
			require.NoError(t, d.Start(t.Context(), program))
			mirrors := func() string { return docker(t, d, "info", "--format", "{{.RegistryConfig.Mirrors}}") }
			becomes := func(want string) {
				t.Helper()
				require.NoError(t, d.Reload())
				require.Eventually(t, func() bool { return mirrors() == want }, 30*time.Second, 50*time.Millisecond)
			}
			require.Equal(t, "[]", mirrors())
			img := pushImage(t, hub, "team/app:v1")
			_, err = d.Run(t.Context(), "pull", "team/app:v1")
			require.Error(t, err, "Docker Hub speaks HTTPS to others than the agent")

			require.Contains(t, installDocker(t, d), "next: systemctl reload docker\n")
			becomes("[http://127.0.0.1:65001/]")
			docker(t, d, "pull", "team/app:v1")
			requireImage(t, d, "team/app:v1", img)

			require.Contains(t, installDocker(t, d, "--mirror", "http://127.0.0.1:7"), "next: systemctl reload docker\n")
			becomes("[http://127.0.0.1:7/]")

			out, err := exec.CommandContext(t.Context(), "../bin/shoal", "uninstall", "docker", "--root", d.Root()).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "next: systemctl restart docker\n", "it keeps mirrors whose key has gone")
			after, err := os.ReadFile(d.Config())
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
			require.NoError(t, d.Start(t.Context(), program))
			require.Equal(t, "[]", mirrors())
		})
	}
}
