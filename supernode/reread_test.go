package supernode_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/p2ptest"
)

// forgetful agents have a store that somebody else writes into and that cannot
// give anything back, and less memory than the tests' blobs need.
func forgetful(c *p2p.Config) {
	c.Store, c.Memory = &p2ptest.Store{LooksOn: true}, p2p.MinMemory
}

func alone(c *p2p.Config) { c.Supernode = "" }

const larger = p2p.MinMemory + 12*mib

func TestABlobThatTheStoreLostIsReadAgain(t *testing.T) {
	for name, makeAgent := range map[string]func(s *swarm) *agent{
		"alone":          func(s *swarm) *agent { return s.agent(forgetful, alone) },
		"in a swarm":     func(s *swarm) *agent { return s.agent(forgetful) },
		"supernode gone": func(s *swarm) *agent { return s.agent(forgetful) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t)
			data := s.add(larger)
			a := makeAgent(s)
			s.getAll(data, a)
			if name == "supernode gone" {
				s.super.stop()
			}
			s.getAll(data, a)
			s.getAll(data, a, a)
			require.LessOrEqual(t, a.Status().MemoryBytes, int64(p2p.MinMemory))
		})
	}
}

func TestAReaderThatIsFarBehindDoesNotHang(t *testing.T) {
	s := newSwarm(t)
	data := s.add(larger)
	a := s.agent(forgetful, alone)
	s.getAll(data, a)
	c, err := a.Open(t.Context(), digest.FromBytes(data), s.upstream.Source(digest.FromBytes(data), ""))
	require.NoError(t, err)
	defer c.Close()
	for offset := c.Size() - mib; offset >= 0; offset -= 15 * mib { // backwards
		var got bytes.Buffer
		_, err := c.CopyRange(t.Context(), &got, offset, mib)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data[offset:offset+mib], got.Bytes()))
		s.getAll(data, a)
	}
}

func TestOtherBytesAtTheSecondReadingReachNoClient(t *testing.T) {
	s := newSwarm(t)
	data := s.add(larger)
	dgst := digest.FromBytes(data)
	a := s.agent(forgetful, alone)
	s.getAll(data, a)
	wrong := bytes.Clone(data)
	wrong[mib] ^= 1
	s.upstream.Add(dgst, wrong)
	got, err := s.get(a, dgst)
	require.ErrorContains(t, err, "wrong bytes")
	require.True(t, bytes.HasPrefix(data, got))
}

func TestAnUpstreamThatIsGoneAtTheSecondReadingFailsIt(t *testing.T) {
	s := newSwarm(t)
	data := s.add(larger)
	a := s.agent(forgetful, alone)
	s.getAll(data, a)
	s.upstream.Refuse(oci.Errorf(oci.SideUpstream, http.StatusForbidden, oci.CodeDenied, "no longer"))
	_, err := s.get(a, digest.FromBytes(data))
	require.ErrorContains(t, err, "no longer")
}

// TestTheEndOfABlobThatNobodyReadFromItsStart is what containerd does when an
// agent starts again in the middle of a pull.
func TestTheEndOfABlobThatNobodyReadFromItsStart(t *testing.T) {
	for name, change := range map[string][]func(*p2p.Config){"alone": {forgetful, alone}, "in a swarm": {forgetful}} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t)
			data := s.add(larger)
			a := s.agent(change...)
			dgst := digest.FromBytes(data)
			c, err := a.Open(t.Context(), dgst, s.upstream.Source(dgst, ""))
			require.NoError(t, err)
			defer c.Close()
			const offset = 10*mib + 5
			require.NoError(t, c.Ready(t.Context(), offset))
			var got bytes.Buffer
			_, err = c.CopyRange(t.Context(), &got, offset, c.Size()-offset)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[offset:], got.Bytes()))
		})
	}
}
