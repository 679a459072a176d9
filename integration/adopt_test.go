//go:build e2e

package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

const otherImage = testbed.Registry + "/test/other:v1"

// requireAnnounced waits until the supernode knows of what lies in the stores of
// nodes, and of nothing else.
func requireAnnounced(t *testing.T, c *testbed.Cluster, what string, nodes ...*testbed.Node) {
	t.Helper()
	var want, got float64
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(50 * time.Millisecond) {
		want = 0
		for _, n := range nodes {
			blobs, err := filepath.Glob(filepath.Join(n.ContentPath(), "blobs", "*", "*"))
			require.NoError(t, err)
			want += float64(len(blobs))
		}
		var err error
		got, err = c.SupernodeMetric(t.Context(), "shoal_announced_blobs")
		require.NoError(t, err)
		if got == want {
			t.Logf("%s: the supernode knows of %v blobs after %v", what, got, time.Since(start).Round(time.Millisecond))
			return
		}
	}
	require.FailNow(t, what, "the supernode knows of %v blobs, the stores hold %v", got, want)
}

// requireGone waits until a node's containerd has removed blobs of layers.
func requireGone(t *testing.T, n *testbed.Node, within time.Duration, layers ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, hex := range layers {
			if _, err := os.Stat(filepath.Join(n.ContentPath(), "blobs", "sha256", hex)); !os.IsNotExist(err) {
				return false
			}
		}
		return true
	}, within, 50*time.Millisecond)
}

// layers are the names of the files of an image's own layers.
func layers(t *testing.T, img v1.Image) (hex []string) {
	t.Helper()
	all, err := img.Layers()
	require.NoError(t, err)
	for _, l := range all[1:] { // the first is the base of all
		h, err := l.Digest()
		require.NoError(t, err)
		hex = append(hex, h.Hex)
	}
	return hex
}

func TestWhatWasThereBeforeIsServedAndWhatGoesIsWithdrawn(t *testing.T) {
	for version, dir := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			ctx := t.Context()
			c, img := build(t, testbed.Options{Spare: 3, Containerd: dir}, 3, 4*mib)
			other, err := testimage.Image(t.Name()+" other", 2, 2*mib)
			require.NoError(t, err)
			require.NoError(t, testimage.Push(otherImage, other, c.Upstream.Transport()))
			a, b, late := c.Nodes[0], c.Nodes[1], c.Nodes[2]

			require.NoError(t, a.StartContainerd(ctx))
			_, err = a.Ctr(ctx, "images", "pull", "--plain-http", image)
			require.NoError(t, err)
			require.NoError(t, a.StartAgent(ctx))
			requireAnnounced(t, c, "pulled before there was an agent", a)

			_, total, err := testimage.Blobs(img)
			require.NoError(t, err)
			sent := c.Upstream.Sent()
			require.NoError(t, b.Start(ctx))
			pullAll(t, ctx, b)
			requireBlobs(t, img, b)
			require.Equal(t, total, sources(t, b)["peer"], "everything comes from the node that had it")
			seeded, err := c.SupernodeMetric(ctx, "shoal_seed_bytes_total")
			require.NoError(t, err)
			require.Zero(t, seeded)
			require.Equal(t, total, c.Upstream.Sent()-sent, "the supernode reads it once, to name the digests of the pieces")
			requireAnnounced(t, c, "pulled through Shoal", a, b)

			_, err = a.Ctr(ctx, "images", "pull", "--plain-http", otherImage)
			require.NoError(t, err)
			requireAnnounced(t, c, "pulled past the agent", a, b)
			_, err = a.Ctr(ctx, "images", "rm", "--sync", otherImage)
			require.NoError(t, err)
			requireGone(t, a, 10*time.Second, layers(t, other)...)
			requireAnnounced(t, c, "an image that nobody asked for is deleted", a, b)

			if dir != modern(t) { // an agent that ends pins nothing
				require.NoError(t, a.Agent.Terminate())
				require.NoError(t, a.StartAgent(ctx))
				requireAnnounced(t, c, "the agent has started again", a, b)
			}
			_, err = a.Ctr(ctx, "images", "rm", "--sync", image)
			require.NoError(t, err)
			start := time.Now()
			requireGone(t, a, time.Minute, layers(t, img)...)
			t.Logf("served a moment ago, the image was gone after %v", time.Since(start).Round(time.Millisecond))
			requireAnnounced(t, c, "a served image is deleted", a, b)

			c.Upstream.Block(true)
			require.NoError(t, late.Start(ctx))
			pullAll(t, ctx, late)
			requireBlobs(t, img, late)
			require.Equal(t, total, sources(t, late)["peer"], "the other copy goes on serving")
			for _, n := range []*testbed.Node{a, b, late} {
				require.NoError(t, n.Agent.Terminate())
				out, err := n.Ctr(ctx, "leases", "ls", "-q")
				require.NoError(t, err)
				require.NotContains(t, out, "shoal", "no lease is left behind")
			}
		})
	}
}
