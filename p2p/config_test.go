package p2p_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
	"github.com/shoal-p2p/shoal/p2p/storetest"
)

func TestImpossibleConfigurationsAreRefused(t *testing.T) {
	store := &p2ptest.Store{}
	for want, cfg := range map[string]p2p.Config{
		"no store":         {},
		"memory.pieces":    {Store: store, Memory: 1},
		"negative":         {Store: store, UploadRate: -1},
		"has no supernode": {Store: store, Seed: true, Supernode: "a:1"},
		"needs a tracker":  {Store: store, Seed: true},
	} {
		_, err := p2p.NewNode(cfg)
		require.ErrorContains(t, err, want)
	}
}

// The store that swarm tests use keeps the rules that real ones keep.
func TestTheStoreOfTestsIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Fixture {
		s := &p2ptest.Store{}
		return storetest.Fixture{
			Store: s,
			Put:   func(_ *testing.T, dgst digest.Digest, blob []byte) { s.PutAs(dgst, blob) },
		}
	})
}
