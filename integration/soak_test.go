//go:build e2e

package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

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
	for way, o := range ways(t, testbed.Options{Nodes: 1, Rate: 100e6}) {
		t.Run(way, func(t *testing.T) {
			c, img := build(t, o, 3, 6*mib)
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
