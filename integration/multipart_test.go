//go:build e2e

package integration

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

// TestContainerdFetchesLayersInParallelParts has a containerd that asks for a layer
// by open-ended ranges, which it closes early; and for manifests by such, too.
func TestContainerdFetchesLayersInParallelParts(t *testing.T) {
	for _, ingest := range ingests {
		t.Run(ingest, func(t *testing.T) {
			c, img := build(t, testbed.Options{Nodes: 2, Containerd: modern(t), Ingest: ingest, AgentFlags: []string{"--log-level", "debug"}, ContainerdConfig: `
[plugins."io.containerd.transfer.v1.local"]
max_concurrent_downloads = 6
concurrent_layer_fetch_buffer = 2097152
`}, 2, 24*mib)
			pullAll(t, t.Context(), c.Nodes...)
			blobs, _, err := testimage.Blobs(img)
			require.NoError(t, err)
			largest := slices.MaxFunc(blobs, func(a, b testimage.Blob) int { return int(a.Size - b.Size) })
			for _, n := range c.Nodes {
				sources(t, n)
				requireBlobs(t, img, n)
				requireIngested(t, img, n, ingest)
				log, err := os.ReadFile(n.Agent.Log)
				require.NoError(t, err)
				ended := regexp.MustCompile("stopped reading.*"+largest.Digest).FindAll(log, -1)
				if ingest == "stream" {
					require.Greater(t, len(ended), 3, "it reads in parts, and ends requests early")
				}
			}
			r := ratio(t, c, img)
			t.Logf("the upstream sent %.4f x the image", r)
			require.InDelta(t, 1, r, 0.005)
		})
	}
}
