//go:build e2e

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// directly makes agents write layers into containerd, and say so.
func directly(o testbed.Options) testbed.Options {
	o.AgentFlags = append(o.AgentFlags, "--containerd-ingest", "direct", "--log-level", "debug")
	return o
}

// received counts the layers that an agent wrote into containerd.
func received(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	return strings.Count(string(text), "received a layer for containerd")
}

// large counts the layers of an image that are worth it.
func large(t *testing.T, img v1.Image) (n int) {
	t.Helper()
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	for _, b := range blobs {
		if b.Size >= mib {
			n++
		}
	}
	return n
}

// requireNothingLeft waits until neither a lease of Shoal nor an ingest is there.
func requireNothingLeft(t *testing.T, n *testbed.Node) {
	t.Helper()
	var left string
	for deadline := time.Now().Add(4 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		leases, err := n.Ctr(t.Context(), "leases", "ls", "-q")
		require.NoError(t, err)
		active, err := n.Ctr(t.Context(), "content", "active")
		require.NoError(t, err)
		if left = leases + active; !strings.Contains(left, "shoal/") && !strings.Contains(left, "layer-") {
			return
		}
	}
	require.FailNow(t, "left behind", left)
}

func TestDirectIngest(t *testing.T) {
	for version, dir := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			c, img := build(t, directly(testbed.Options{Nodes: 3, Containerd: dir}), 3, 12*mib)
			pullAll(t, t.Context(), c.Nodes...)
			for _, n := range c.Nodes {
				sources(t, n)
				requireBlobs(t, img, n)
				out, err := n.RunContainer(t.Context(), image, "check", "/bin/sh", "-c", "echo it runs")
				require.NoError(t, err)
				require.Contains(t, out, "it runs")
				require.Equal(t, large(t, img), received(t, n.Agent.Log))
			}
			require.InDelta(t, 1, ratio(t, c, img), 0.005)
			for _, n := range c.Nodes {
				requireNothingLeft(t, n)
			}
		})
	}
}

func TestDirectIngestWhenSomethingEnds(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, c *testbed.Cluster){
		"agent killed":     func(_ *testing.T, c *testbed.Cluster) { c.Nodes[0].Agent.Kill() },
		"agent terminated": func(t *testing.T, c *testbed.Cluster) { require.NoError(t, c.Nodes[0].Agent.Terminate()) },
		"agent restarted": func(t *testing.T, c *testbed.Cluster) {
			c.Nodes[0].Agent.Kill()
			require.NoError(t, c.Nodes[0].StartAgent(t.Context()))
		},
		"supernode killed": func(_ *testing.T, c *testbed.Cluster) { c.Supernode.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			o := directly(slow)
			o.Containerd = modern(t)
			c, img := build(t, o, 3, 12*mib)
			_, total, err := testimage.Blobs(img)
			require.NoError(t, err)
			during(t, c, total, c.Nodes, func() { do(t, c) })
			for _, n := range c.Nodes {
				requireBlobs(t, img, n)
			}
			t.Logf("the upstream sent %.3f x the image", ratio(t, c, img))
		})
	}
}

// TestSoak pulls again and again, and kills the agent at any moment. SOAK_PULLS
// says how often; see make soak.
func TestSoak(t *testing.T) {
	pulls := 3
	if s := os.Getenv("SOAK_PULLS"); s != "" {
		var err error
		pulls, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for version, dir := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			c, img := build(t, directly(testbed.Options{Nodes: 1, Containerd: dir, Rate: 100e6}), 3, 6*mib)
			n := c.Nodes[0]
			for i := range pulls {
				done := make(chan error, 1)
				start := time.Now()
				go func() { done <- n.Pull(t.Context(), image) }()
				var err error
				moment := time.Duration(random.Int64N(int64(2500 * time.Millisecond)))
				select {
				case err = <-done:
				case <-time.After(moment):
					n.Agent.Kill()
					if random.IntN(2) == 0 {
						require.NoError(t, n.StartAgent(t.Context()))
					}
					err = <-done
				}
				require.NoError(t, err, "pull %d, agent killed after %v", i, moment)
				requireBlobs(t, img, n)
				t.Logf("pull %d took %v", i, time.Since(start).Round(time.Millisecond))
				n.Agent.Kill()
				require.NoError(t, n.StartAgent(t.Context()))
				_, err = n.Ctr(t.Context(), "images", "rm", "--sync", image)
				require.NoError(t, err)
			}
			requireNothingLeft(t, n)
			require.NoError(t, n.Pull(t.Context(), image))
			requireBlobs(t, img, n)
		})
	}
}

// agentOf is an agent beside a machine's containerd.
type agentOf struct {
	url string
	log string
}

func (m *machine) agent(t *testing.T, registry string) agentOf {
	t.Helper()
	addrs, err := freeport.Addrs(3)
	require.NoError(t, err)
	t.Cleanup(func() {
		if log, _ := os.ReadFile(m.at("agent.log")); t.Failed() {
			t.Logf("the agent's log:\n%s", log)
		}
	})
	a := agentOf{url: "http://" + addrs[0], log: m.at("agent.log")}
	cmd := exec.Command("../bin/shoal", "agent", "--mirror-listen", addrs[0], "--admin-listen", addrs[1], "--peer-listen", addrs[2],
		"--data-dir", m.at("shoal"), "--plain-http", registry, "--store-kind", "containerd", "--containerd-ingest", "direct",
		"--containerd-namespace", "k8s.io", "--containerd-address", m.at("run/containerd.sock"),
		"--containerd-content-path", m.at("data/io.containerd.content.v1.content"), "--log-level", "debug", "--log-path", a.log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return a
}

// TestKubeletPullsDirectly pulls on both paths of CRI.
func TestKubeletPullsDirectly(t *testing.T) {
	for name, config := range map[string]string{
		"transfer":                "",
		"local":                   "use_local_image_pull = true",
		"local, layers discarded": "use_local_image_pull = true\ndiscard_unpacked_layers = true",
	} {
		t.Run(name, func(t *testing.T) {
			m, up := newMachine(t, modern(t)), registrytest.New(t)
			img, err := testimage.Image(t.Name(), 5, 3*mib)
			require.NoError(t, err)
			ref := up.Host() + "/test/app:v1"
			require.NoError(t, testimage.Push(ref, img, up.Client().Transport))
			m.write(t, "etc/containerd/config.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\n"+config+"\n")
			a := m.agent(t, up.Host())
			m.install(t, a.url)
			m.start(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			_, err = m.images(t).PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
			require.NoError(t, err)
			require.Eventually(t, func() bool { return received(t, a.log) == large(t, img) }, time.Minute, 50*time.Millisecond)
			_, total, err := testimage.Blobs(img)
			require.NoError(t, err)
			require.Equal(t, total, up.BlobBytes(), "each byte once")
			require.Eventually(t, func() bool { return m.ctr(t, "leases", "ls", "-q") == "" }, 4*time.Minute, time.Second)
			// What was unpacked is whole, though its layers may be gone.
			_, err = m.images(t).PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
			require.NoError(t, err)
		})
	}
}

func (m *machine) ctr(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), m.program("ctr"), append([]string{"--address", m.at("run/containerd.sock"), "--namespace", "k8s.io"}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
