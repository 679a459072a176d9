//go:build e2e

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shoal-p2p/shoal/integration/testimage"
	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// received counts the layers that an agent wrote into containerd.
func received(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	return strings.Count(string(text), "received a layer for containerd")
}

// agentOf is an agent beside a machine's containerd, or inside it.
type agentOf struct {
	url string
	log string
}

func (m *machine) agent(t *testing.T, registry, ingest string) agentOf {
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
		"--data-dir", m.at("shoal"), "--plain-http", registry, "--store-kind", "containerd", "--containerd-ingest", ingest,
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

// inside is the agent in a containerd that was built with it, and its section in
// that containerd's configuration.
func (m *machine) inside(t *testing.T, registry, ingest string) (a agentOf, section string) {
	t.Helper()
	addrs, err := freeport.Addrs(3)
	require.NoError(t, err)
	return agentOf{url: "http://" + addrs[0], log: m.at("log")}, fmt.Sprintf(`[plugins."io.shoal.v1.agent"]
registries = [{host = %q, plain_http = true}]
containerd = {namespace = "k8s.io", ingest = %q}
mirror.listen = %q
admin.listen = %q
peer.listen = %q
[debug]
level = "debug"
`, registry, ingest, addrs[0], addrs[1], addrs[2])
}

// version3 begins the configuration of containerd 2.x, in the section of CRI's pulls.
const version3 = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\n"

// TestKubeletPulls takes all ways of CRI, of which 2.x has two.
func TestKubeletPulls(t *testing.T) {
	for name, way := range map[string]struct{ bin, config string }{
		"containerd 1.6":          {"/usr/bin", "version = 2\n"},
		"containerd 1.7":          {between(t), "version = 2\n"},
		"transfer":                {modern(t), version3},
		"local":                   {modern(t), version3 + "use_local_image_pull = true\n"},
		"local, layers discarded": {modern(t), version3 + "use_local_image_pull = true\ndiscard_unpacked_layers = true\n"},
	} {
		for _, ingest := range ingests {
			t.Run(name+", "+ingest, func(t *testing.T) {
				m, up := newMachine(t, way.bin), registrytest.New(t)
				kubeletPulls(t, m, up, m.agent(t, up.Host(), ingest), ingest, way.config)
			})
		}
	}
}

// kubeletPulls pulls by CRI in a containerd that is not started yet.
func kubeletPulls(t *testing.T, m *machine, up *registrytest.Registry, a agentOf, ingest, config string) {
	img, err := testimage.Image(t.Name(), 5, 3*mib)
	require.NoError(t, err)
	ref := up.Host() + "/test/app:v1"
	require.NoError(t, testimage.Push(ref, img, up.Client().Transport))
	m.write(t, "etc/containerd/config.toml", config)
	m.install(t, a.url)
	m.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pull := func() {
		_, err = m.images(t).PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
		require.NoError(t, err)
	}
	pull()
	want := 0
	if ingest == "direct" {
		want, _ = large(t, img)
	}
	require.Eventually(t, func() bool { return received(t, a.log) == want }, time.Minute, 50*time.Millisecond)
	_, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	require.Equal(t, total, up.BlobBytes(), "each byte once")
	for _, q := range up.Requests("^GET .*/blobs/") {
		require.Contains(t, q.Header.Get("User-Agent"), "shoal/", "by the agent")
	}
	require.Eventually(t, func() bool { return m.ctr(t, "leases", "ls", "-q") == "" }, 4*time.Minute, time.Second)
	pull() // what was unpacked is whole, though its layers may be gone
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
