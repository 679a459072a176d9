package supernode_test

import (
	"bytes"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/p2ptest"
)

func TestABlobOfAnyAlgorithmIsCheckedPieceByPiece(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
		s := newSwarm(t)
		data := randomBlob(5*mib + 77)
		dgst := alg.FromBytes(data)
		s.upstream.Add(dgst, data)
		for _, a := range []*agent{s.agent(), s.agent()} {
			got, err := s.get(a, dgst)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got), "%s", alg)
		}
		require.EqualValues(t, len(data), s.upstream.Sent(), "%s", alg)
	}
}

// leave puts bytes into a store as a fill does that breaks off.
func leave(t *testing.T, store *p2ptest.Store, dgst digest.Digest, size int, left []byte) {
	in, err := store.Ingest(t.Context(), dgst, int64(size))
	require.NoError(t, err)
	_, err = in.Write(left)
	require.NoError(t, err)
	require.NoError(t, in.Close())
}

func TestWrongBytesThatAFillHasLeftAreReadAgain(t *testing.T) {
	for name, left := range map[string]int{"half a piece": 100_000, "some pieces": 3*mib + 5, "all": 5 * mib} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t)
			data := s.add(5 * mib)
			dgst := digest.FromBytes(data)
			wrong := bytes.Clone(data[:left])
			wrong[left/2] ^= 1
			a := s.agent()
			leave(t, a.store, dgst, len(data), wrong)
			s.getAll(data, a)
			s.eventually(func() bool { return bytes.Equal(a.store.Get(dgst), data) })
		})
	}
}

func TestASeedOrALonelyAgentThatWasLeftWithWrongBytesFailsOnce(t *testing.T) {
	s := newSwarm(t)
	data := s.add(5 * mib)
	dgst := digest.FromBytes(data)
	behind, lonely := s.agent(), s.agent(alone)
	for a, store := range map[*agent]*p2ptest.Store{behind: s.store, lonely: lonely.store} {
		leave(t, store, dgst, len(data), make([]byte, 3*mib))
		got, err := s.get(a, dgst)
		require.Error(t, err)
		require.Less(t, len(got), len(data), "no client gets all of a wrong blob")
		s.eventually(func() bool {
			got, err := s.get(a, dgst)
			return err == nil && bytes.Equal(data, got)
		})
	}
}
