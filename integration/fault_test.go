//go:build e2e

package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

// midway is reached when the upstream has sent half of what it will.
func midway(t *testing.T, c *testbed.Cluster, total int64) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Upstream.Sent() > total/2 }, time.Minute, 5*time.Millisecond)
}

// during pulls on all nodes at once, and calls do when the upstream is half-way.
func during(t *testing.T, c *testbed.Cluster, total int64, do func()) {
	t.Helper()
	wait := pulling(t, t.Context(), c.Nodes...)
	midway(t, c, total)
	do()
	wait()
}

// slow makes the pull take a few seconds, so that its middle can be met.
var slow = testbed.Options{Nodes: 3, UpstreamRate: 12 * mib}

// TestPullsOutliveWhatEndsInTheirMiddle ends something that one node or all of them
// need. A node whose agent is gone goes on by itself, where its containerd is.
func TestPullsOutliveWhatEndsInTheirMiddle(t *testing.T) {
	for name, end := range map[string]func(c *testbed.Cluster) error{
		"agent killed":     func(c *testbed.Cluster) error { c.Nodes[0].Agent.Kill(); return nil },
		"agent terminated": func(c *testbed.Cluster) error { return c.Nodes[0].Agent.Terminate() },
		"agent restarted": func(c *testbed.Cluster) error {
			c.Nodes[0].Agent.Kill()
			return c.Nodes[0].StartAgent(t.Context())
		},
		"supernode killed": func(c *testbed.Cluster) error { c.Supernode.Kill(); return nil },
	} {
		for way, o := range ways(t, slow) {
			t.Run(name+", "+way, func(t *testing.T) {
				c, img := build(t, o, 3, 12*mib)
				_, total, err := testimage.Blobs(img)
				require.NoError(t, err)
				during(t, c, total, func() { require.NoError(t, end(c)) })
				for _, n := range c.Nodes {
					requireBlobs(t, img, n)
				}
				r := ratio(t, c, img)
				t.Logf("the upstream sent %.3f x the image", r)
				if name == "agent terminated" {
					// What containerd had not asked for yet, it gets from the
					// registry: the base layer, since it takes three at a time.
					require.Less(t, r, 1.05, "what was under way was brought to its end")
				}
			})
		}
	}
}

func TestARestartedSupernodeGoesOnWhereItWas(t *testing.T) {
	o := slow
	o.Store = "local"
	c, img := build(t, o, 1, 48*mib)
	blobs, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	fetchDuring(t, c, blobs, total, c.Nodes, func() {
		require.NoError(t, c.Supernode.Terminate())
		require.NoError(t, c.StartSupernode(t.Context()))
	})
	t.Logf("the upstream sent %.3f x the image", ratio(t, c, img))
	require.Less(t, ratio(t, c, img), 1.25, "what was read before the restart is not read again")
}

// requireStored waits until the agent's own store has committed the blobs.
func requireStored(t *testing.T, n *testbed.Node, blobs []testimage.Blob) {
	t.Helper()
	for _, b := range blobs {
		require.Eventually(t, func() bool {
			_, err := os.Stat(n.StoreDir() + "/blobs/sha256/" + b.Digest[len("sha256:"):])
			return err == nil
		}, 20*time.Second, 10*time.Millisecond, "%s has %s", n.Name, b.Digest)
	}
}

func TestAWrongByteOfTheUpstreamFailsThePullAndSaysSo(t *testing.T) {
	for way, o := range ways(t, testbed.Options{Nodes: 2}) {
		t.Run(way, func(t *testing.T) {
			c, img := build(t, o, 2, 4*mib)
			c.Upstream.Corrupt(3 * mib)
			for _, n := range c.Nodes {
				require.Error(t, n.Pull(t.Context(), image))
				log, err := os.ReadFile(n.Agent.Log)
				require.NoError(t, err)
				require.Contains(t, string(log), "the upstream sent wrong bytes")
			}
			blobs, _, err := testimage.Blobs(img)
			require.NoError(t, err)
			last := blobs[len(blobs)-1]
			resp, err := c.Nodes[0].Ask(t.Context(), http.MethodGet, fmt.Sprintf("/v2/test/app/blobs/%s?ns=%s", last.Digest, testbed.Registry),
				http.Header{"Range": {fmt.Sprintf("bytes=%d-", last.Size-10)}})
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.Contains(t, string(body), "the upstream sent wrong bytes")

			c.Upstream.Corrupt(-1)
			require.Eventually(t, func() bool { return c.Nodes[0].Pull(t.Context(), image) == nil }, 30*time.Second, time.Second,
				"once the upstream is healed, the pull works")
			requireBlobs(t, img, c.Nodes[0])
		})
	}
}

func TestAgentWithItsOwnStoreKeepsAndServesIt(t *testing.T) {
	c, img := build(t, testbed.Options{Nodes: 3, Spare: 1, Store: "local"}, 2, 12*mib)
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	fetch := func(n *testbed.Node) {
		for _, b := range blobs {
			var got bytes.Buffer
			_, err := n.Fetch(t.Context(), "/v2/test/app/blobs/"+b.Digest+"?ns="+testbed.Registry, &got)
			require.NoError(t, err)
			require.EqualValues(t, b.Size, got.Len())
		}
		requireStored(t, n, blobs)
		requireBlobs(t, img, n)
	}
	for _, n := range c.Nodes[:3] {
		fetch(n)
	}
	require.InDelta(t, 1, ratio(t, c, img), 0.005)
	c.Upstream.Block(true)
	require.NoError(t, c.Nodes[3].Start(t.Context()))
	fetch(c.Nodes[3])
	require.Zero(t, sources(t, c.Nodes[3])["supernode"])
}
