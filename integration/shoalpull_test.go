//go:build e2e

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

const platformsImage = testbed.Registry + "/test/platforms:v1"

// shoalPull runs shoal pull on a node.
func shoalPull(t *testing.T, n *testbed.Node, args ...string) (string, error) {
	t.Helper()
	out, err := n.Command(t.Context(), "../bin/shoal", append([]string{"pull"}, args...)...).CombinedOutput()
	t.Logf("%s: shoal pull %s\n%s", n.Name, strings.Join(args, " "), out)
	return string(out), err
}

// lacksBlobs is whether the node has no layer of its own of the image.
func lacksBlobs(t *testing.T, img v1.Image, n *testbed.Node) bool {
	t.Helper()
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	alg, hex, _ := strings.Cut(blobs[len(blobs)-1].Digest, ":")
	_, err = os.Stat(filepath.Join(n.StoreDir(), "blobs", alg, hex))
	return os.IsNotExist(err)
}

// checked is ctr's line about the image: its parts, and whether it is unpacked.
func checked(t *testing.T, n *testbed.Node) string {
	t.Helper()
	out, err := n.Ctr(t.Context(), "images", "check", "name=="+platformsImage)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func TestShoalPullBringsPlatformsIntoContainerd(t *testing.T) {
	for way, o := range ways(t, testbed.Options{Nodes: 2}) {
		t.Run(way, func(t *testing.T) {
			c, img := build(t, o, 1, mib)
			index, amd64, arm64, err := testimage.Index(t.Name(), 2, 4*mib)
			require.NoError(t, err)
			require.NoError(t, testimage.PushIndex(platformsImage, index, c.Upstream.Transport()))
			all, one := c.Nodes[0], c.Nodes[1]

			out, err := shoalPull(t, one, "--platform", "linux/s390x", platformsImage)
			require.Error(t, err)
			require.Contains(t, out, "no manifest for linux/s390x, but for linux/arm64, linux/amd64")
			out, err = shoalPull(t, one, "--platform", "linux/arm64", image)
			require.Error(t, err)
			require.Contains(t, out, "it is for linux/amd64 alone, not for linux/arm64")
			require.True(t, lacksBlobs(t, img, one))
			_, err = shoalPull(t, one, platformsImage)
			require.NoError(t, err)
			requireBlobs(t, amd64, one)
			require.True(t, lacksBlobs(t, arm64, one))
			require.Regexp(t, `complete .* false$`, checked(t, one))

			out, err = shoalPull(t, all, "--all-platforms", "--unpack", "--progress", "plain", platformsImage)
			require.NoError(t, err)
			require.Equal(t, 10, strings.Count(out, " sha256:"), "index; manifest, config, two layers of both platforms; a layer of both")
			requireBlobs(t, amd64, all)
			requireBlobs(t, arm64, all)
			require.Regexp(t, `complete .* true$`, checked(t, all))
			out, err = all.RunContainer(t.Context(), platformsImage, "check", "/bin/sh", "-c", "echo it runs")
			require.NoError(t, err)
			require.Contains(t, out, "it runs")

			require.Zero(t, sources(t, all)["upstream"], "all came through the swarm")
			refused, _, err := testimage.Blobs(img)
			require.NoError(t, err)
			require.Equal(t, sum(t, amd64, arm64)+refused[0].Size, c.Upstream.Sent(),
				"and from the upstream once; of the image that was refused its config")
		})
	}
}

// sum is the size of the images' blobs, each counted once.
func sum(t *testing.T, images ...v1.Image) (total int64) {
	t.Helper()
	seen := map[string]bool{}
	for _, img := range images {
		blobs, _, err := testimage.Blobs(img)
		require.NoError(t, err)
		for _, b := range blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				total += b.Size
			}
		}
	}
	return total
}
