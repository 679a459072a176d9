//go:build e2e

package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

const (
	mib   = 1 << 20
	image = testbed.Registry + "/test/app:v1"
)

// build builds a cluster with an image in its registry.
func build(t *testing.T, o testbed.Options, layers int, size int64) (*testbed.Cluster, v1.Image) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	var err error
	o.Shoal, err = filepath.Abs("../bin/shoal")
	require.NoError(t, err)
	c, err := testbed.New(t.Context(), o)
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, c)
		}
		require.NoError(t, c.Close())
	})
	require.NoError(t, err)
	img, err := testimage.Image(t.Name(), layers, size)
	require.NoError(t, err)
	require.NoError(t, testimage.Push(image, img, c.Upstream.Transport()))
	return c, img
}

// showLogs prints the ends of all logs.
func showLogs(t *testing.T, c *testbed.Cluster) {
	logs, _ := filepath.Glob(filepath.Join(c.Dir(), "*.log"))
	for _, file := range logs {
		data, _ := os.ReadFile(file)
		t.Logf("--- %s\n%s", filepath.Base(file), data[max(0, len(data)-3000):])
	}
}

// modern is the directory of containerd 2.x; Debian's 1.6 is on $PATH.
func modern(t *testing.T) string {
	dir, err := filepath.Abs("../.cache/bin")
	require.NoError(t, err)
	return dir
}

// between is the directory of containerd 1.7. It is so near to 1.6 that few tests
// take it, lest all take longer.
func between(t *testing.T) string { return filepath.Join(modern(t), "containerd-1.7") }

// ingests are the values of containerd.ingest.
var ingests = []string{"stream", "direct"}

// containerds are the two versions that everything must work with.
func containerds(t *testing.T) map[string]string {
	return map[string]string{"containerd 1.6": "/usr/bin", "containerd 2.4": modern(t)}
}

// ways are the options with each way of layers into containerd: both versions of
// it, and both values of containerd.ingest.
func ways(t *testing.T, o testbed.Options) map[string]testbed.Options {
	all := map[string]testbed.Options{}
	for version, dir := range containerds(t) {
		for _, ingest := range ingests {
			o.Containerd, o.Ingest = dir, ingest
			all[version+", "+ingest] = o
		}
	}
	return all
}

// pulling begins to pull on nodes at once. wait wants all pulls to succeed.
func pulling(t *testing.T, ctx context.Context, nodes ...*testbed.Node) (wait func()) {
	t.Helper()
	errs := make([]error, len(nodes))
	took := make([]time.Duration, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			start := time.Now()
			errs[i] = n.Pull(ctx, image)
			took[i] = time.Since(start).Round(10 * time.Millisecond)
		})
	}
	return func() {
		t.Helper()
		wg.Wait()
		t.Logf("the pulls took %v", took)
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
}

// pullAll pulls on nodes at once.
func pullAll(t *testing.T, ctx context.Context, nodes ...*testbed.Node) {
	t.Helper()
	pulling(t, ctx, nodes...)()
}

// requireBlobs checks every blob of the image in the node's content store.
func requireBlobs(t *testing.T, img v1.Image, n *testbed.Node) {
	t.Helper()
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	for _, b := range blobs {
		alg, hex, _ := strings.Cut(b.Digest, ":")
		f, err := os.Open(filepath.Join(n.StoreDir(), "blobs", alg, hex))
		require.NoError(t, err, "%s", n.Name)
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		require.NoError(t, err)
		require.Equal(t, hex, fmt.Sprintf("%x", h.Sum(nil)), "%s", n.Name)
	}
}

// large counts the layers of an image that direct ingest is for, and their bytes.
func large(t *testing.T, img v1.Image) (n int, bytes int64) {
	t.Helper()
	blobs, _, err := testimage.Blobs(img)
	require.NoError(t, err)
	for _, b := range blobs {
		if b.Size >= mib {
			n, bytes = n+1, bytes+b.Size
		}
	}
	return n, bytes
}

// requireIngested checks that the agent has written the image's large layers into
// containerd, or none if containerd was to read them.
func requireIngested(t *testing.T, img v1.Image, n *testbed.Node, ingest string) {
	t.Helper()
	_, want := large(t, img)
	if ingest != "direct" {
		want = 0
	}
	got, err := n.Metric(t.Context(), "shoal_ingest_bytes_total", "")
	require.NoError(t, err)
	require.EqualValues(t, want, got, "%s", n.Name)
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

// ratio is what the upstream sent of the image's blobs.
func ratio(t *testing.T, c *testbed.Cluster, img v1.Image) float64 {
	t.Helper()
	_, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	return float64(c.Upstream.Sent()) / float64(total)
}

// sources prints where a node's bytes came from.
func sources(t *testing.T, n *testbed.Node) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, s := range []string{"upstream", "supernode", "peer", "store"} {
		v, err := n.Bytes(t.Context(), s)
		require.NoError(t, err)
		out[s] = v
	}
	t.Logf("%-6s upstream %5.1f  supernode %5.1f  peers %5.1f  store %5.1f MiB", n.Name,
		float64(out["upstream"])/mib, float64(out["supernode"])/mib, float64(out["peer"])/mib, float64(out["store"])/mib)
	return out
}

func TestColdNodesPullAtOnceAndTheUpstreamSendsTheImageOnce(t *testing.T) {
	for _, nodes := range []int{1, 3, 8} {
		for way, o := range ways(t, testbed.Options{Nodes: nodes}) {
			t.Run(fmt.Sprintf("%s, %d nodes", way, nodes), func(t *testing.T) { pullCold(t, o) })
		}
	}
	for _, ingest := range ingests {
		t.Run("containerd 1.7, "+ingest, func(t *testing.T) {
			pullCold(t, testbed.Options{Nodes: 2, Containerd: between(t), Ingest: ingest})
		})
	}
}

func pullCold(t *testing.T, o testbed.Options) {
	c, img := build(t, o, 3, 12*mib)
	pullAll(t, t.Context(), c.Nodes...)
	for _, n := range c.Nodes {
		sources(t, n)
		requireBlobs(t, img, n)
		requireIngested(t, img, n, o.Ingest)
		out, err := n.RunContainer(t.Context(), image, "check", "/bin/sh", "-c", "echo it runs")
		require.NoError(t, err)
		require.Contains(t, out, "it runs")
	}
	r := ratio(t, c, img)
	t.Logf("%d nodes: the upstream sent %.4f x the image", len(c.Nodes), r)
	require.InDelta(t, 1, r, 0.005)
}

func TestSecondPullMovesNothingAndALateNodeGetsAllFromPeers(t *testing.T) {
	for way, o := range ways(t, testbed.Options{Nodes: 3, Spare: 1}) {
		t.Run(way, func(t *testing.T) {
			c, img := build(t, o, 3, 12*mib)
			pullAll(t, t.Context(), c.Nodes[:3]...)
			before := sources(t, c.Nodes[0])
			sent := c.Upstream.Sent()
			pullAll(t, t.Context(), c.Nodes[:3]...)
			require.Equal(t, before, sources(t, c.Nodes[0]), "a second pull moves no blob byte")

			c.Upstream.Block(true)
			late := c.Nodes[3]
			require.NoError(t, late.Start(t.Context()))
			pullAll(t, t.Context(), late)
			requireBlobs(t, img, late)
			from := sources(t, late)
			_, total, err := testimage.Blobs(img)
			require.NoError(t, err)
			require.Equal(t, total, from["peer"], "everything comes from peers")
			require.Equal(t, sent, c.Upstream.Sent())
			for _, n := range c.Nodes[:3] { // by now their leases have gone
				requireNothingLeft(t, n)
			}
			t.Logf("the late node: %.2f of the image from peers, the upstream's blobs blocked", float64(from["peer"])/float64(total))
		})
	}
}

// diskUse is what the files below a directory occupy.
func diskUse(t *testing.T, dirs ...string) int64 {
	t.Helper()
	sum := int64(0)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if os.IsNotExist(err) || err == nil && d.IsDir() {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil {
				sum += info.Size()
			}
			return nil
		})
		require.NoError(t, err)
	}
	return sum
}

func TestNoByteLiesOnADiskTwice(t *testing.T) {
	for way, o := range ways(t, testbed.Options{Nodes: 2}) {
		t.Run(way, func(t *testing.T) {
			c, img := build(t, o, 3, 12*mib)
			n := c.Nodes[0]
			before := diskUse(t, n.DataDir(), n.ContentPath())
			pullAll(t, t.Context(), c.Nodes...)
			grown := diskUse(t, n.DataDir(), n.ContentPath()) - before
			_, total, err := testimage.Blobs(img)
			require.NoError(t, err)
			t.Logf("agent and containerd grew by %.3f x the image", float64(grown)/float64(total))
			require.InDelta(t, 1, float64(grown)/float64(total), 0.02)
		})
	}
}
