//go:build e2e

package integration

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
	"github.com/shoal-p2p/shoal/integration/testimage"
)

// fetchAll fetches blobs through a node's mirror.
func fetchAll(ctx context.Context, n *testbed.Node, blobs []testimage.Blob) error {
	for _, b := range blobs {
		size, err := n.Fetch(ctx, "/v2/test/app/blobs/"+b.Digest+"?ns="+testbed.Registry, io.Discard)
		if err == nil && size != b.Size {
			err = fmt.Errorf("%s: %d bytes of %d", n.Name, size, b.Size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchDuring fetches the layers through the mirrors of nodes at once, and calls
// do when the upstream is half-way.
func fetchDuring(t *testing.T, c *testbed.Cluster, blobs []testimage.Blob, total int64, nodes []*testbed.Node, do func()) {
	t.Helper()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = fetchAll(t.Context(), n, blobs) })
	}
	midway(t, c, total)
	do()
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	for _, n := range nodes {
		requireStored(t, n, blobs)
	}
}

func TestAFrozenPeerIsLeftForOthers(t *testing.T) {
	o := slow
	o.Store = "local"
	c, img := build(t, o, 1, 48*mib)
	blobs, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	frozen, others := c.Nodes[0], c.Nodes[1:]
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // the test's context has ended then
	wg.Go(func() { _ = fetchAll(t.Context(), frozen, blobs) })
	fetchDuring(t, c, blobs, total, others, frozen.Agent.Freeze)
	for _, n := range others {
		requireBlobs(t, img, n)
	}
	require.InDelta(t, 1, ratio(t, c, img), 0.005)
}

func TestWithoutTheSupernodeTheNodesShareTheReading(t *testing.T) {
	o := slow
	o.Store = "local"
	c, img := build(t, o, 1, 48*mib)
	blobs, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	fetchDuring(t, c, blobs, total, c.Nodes, c.Supernode.Kill)
	for _, n := range c.Nodes {
		requireBlobs(t, img, n)
	}
	t.Logf("the upstream sent %.3f x the image", ratio(t, c, img))
	require.Less(t, ratio(t, c, img), 1.4, "2 if each of the nodes read the rest by itself")
}

// usage is what a process holds at rest.
type usage struct{ goroutines, descriptors int }

func TestASwarmComesToRest(t *testing.T) {
	c, img := build(t, testbed.Options{Nodes: 3, Store: "local"}, 2, 12*mib)
	blobs, total, err := testimage.Blobs(img)
	require.NoError(t, err)
	measure := func() (all []usage) {
		count := func(p *testbed.Process, goroutines float64, err error) {
			require.NoError(t, err)
			open, err := p.Descriptors()
			require.NoError(t, err)
			all = append(all, usage{int(goroutines), open})
		}
		g, err := c.SupernodeMetric(t.Context(), "go_goroutines")
		count(c.Supernode, g, err)
		for _, n := range c.Nodes {
			g, err := n.Metric(t.Context(), "go_goroutines", "")
			count(n.Agent, g, err)
		}
		return all
	}
	before := measure()
	fetchDuring(t, c, blobs, total, c.Nodes, func() {})
	// The streams between peers stay; so may a connection to the upstream.
	const streams, perStream = 2, 4
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		for i, now := range measure() {
			assert.LessOrEqual(t, now.goroutines, before[i].goroutines+streams*perStream)
			assert.LessOrEqual(t, now.descriptors, before[i].descriptors+streams+2)
		}
	}, 2*time.Minute, time.Second)
}
