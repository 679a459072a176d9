//go:build e2e

package integration

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// agentStatus asks the agent of a node.
func agentStatus(t *testing.T, n *testbed.Node) (s agent.Status) {
	t.Helper()
	out, err := n.Command(t.Context(), "../bin/shoal", "status", "-o", "json").Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &s))
	return s
}

func TestContainerdPullsThroughTheAgentInsideIt(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, testbed.BuildInside(t.Context(), "../contrib/containerd", modern(t), dir))
	for _, ingest := range ingests {
		t.Run(ingest, func(t *testing.T) { pullsThroughTheAgentInside(t, dir, ingest) })
		t.Run(ingest+", as the kubelet does", func(t *testing.T) {
			m, up := newMachine(t, dir), registrytest.New(t)
			a, section := m.inside(t, up.Host(), ingest)
			kubeletPulls(t, m, up, a, ingest, "version = 3\n"+section)
		})
	}
}

func pullsThroughTheAgentInside(t *testing.T, dir, ingest string) {
	c, img := build(t, testbed.Options{
		Nodes: 2, Spare: 1, Containerd: dir, Builtin: true, Ingest: ingest,
	}, 3, 12*mib)
	pullAll(t, t.Context(), c.Nodes[:2]...)
	for _, n := range c.Nodes[:2] {
		require.Zero(t, sources(t, n)["upstream"])
		requireBlobs(t, img, n)
		requireIngested(t, img, n, ingest)
		out, err := n.RunContainer(t.Context(), image, "check", "/bin/sh", "-c", "echo it runs")
		require.NoError(t, err)
		require.Contains(t, out, "it runs")
	}
	r := ratio(t, c, img)
	t.Logf("the upstream sent %.4f x the image", r)
	require.InDelta(t, 1, r, 0.005)

	first := c.Nodes[0]
	store := agentStatus(t, first).Store
	require.Equal(t, agent.StoreInfo{Kind: "containerd", Address: first.Socket(), Namespace: "default", ContentPath: first.ContentPath()}, store)
	v, err := first.Metric(t.Context(), "go_goroutines", "")
	require.NoError(t, err)
	require.Positive(t, v, "the metrics are those of the whole process")

	found, code := verdict(t, first, "--hosts-dir", first.Certs())
	require.Zero(t, code, found)
	for _, name := range []string{"supernode", "containerd", "content path", "hosts.toml", "namespace"} {
		require.Equal(t, "ok", found[name], name)
	}

	// The end of containerd is the agent's, in good order; the next start finds
	// all that was pulled.
	require.NoError(t, first.Containerd.Terminate())
	require.Zero(t, first.Containerd.ExitCode())
	require.NoError(t, first.Start(t.Context()))
	c.Upstream.Block(true)
	sent := c.Upstream.Sent()
	late := c.Nodes[2]
	require.NoError(t, late.Start(t.Context()))
	_, err = shoalPull(t, late, "--unpack", image)
	require.NoError(t, err)
	requireBlobs(t, img, late)
	require.Equal(t, sent, c.Upstream.Sent())
	require.Positive(t, sources(t, late)["peer"])
}
