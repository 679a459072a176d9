package supernode

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// maxNeighbours is how many peers an agent meets for one blob. All meet
	// all in small swarms.
	maxNeighbours = 16
	// maxNear of them share the most labels with it; the others are drawn at
	// random, so that racks and zones do not become islands.
	maxNear = maxNeighbours / 2
	// maxHeld bounds what one agent can make the tracker remember.
	maxHeld = 100_000
)

// tracker knows who takes part in which blob's swarm. It is pure, and not safe
// for concurrent use: the seed calls it under its own lock.
type tracker struct {
	rand   *rand.Rand
	swarms map[digest.Digest]map[string]*member
	of     map[string]map[digest.Digest]struct{} // by peer
}

type member struct {
	peer  p2p.Peer
	whole bool // holds all of the blob
}

func newTracker(rand *rand.Rand) *tracker {
	return &tracker{
		rand:   rand,
		swarms: map[digest.Digest]map[string]*member{},
		of:     map[string]map[digest.Digest]struct{}{},
	}
}

func (t *tracker) enter(p p2p.Peer, dgst digest.Digest) *member {
	if t.of[p.ID] == nil {
		t.of[p.ID] = map[digest.Digest]struct{}{}
	}
	if t.swarms[dgst] == nil {
		t.swarms[dgst] = map[string]*member{}
	}
	t.of[p.ID][dgst] = struct{}{}
	m := t.swarms[dgst][p.ID]
	if m == nil {
		m = &member{}
		t.swarms[dgst][p.ID] = m
	}
	m.peer = p
	return m
}

// Join adds a peer to a blob's swarm and returns whom it should meet.
func (t *tracker) Join(p p2p.Peer, dgst digest.Digest) []p2p.Peer {
	t.enter(p, dgst).whole = false
	var others []p2p.Peer
	for id, m := range t.swarms[dgst] {
		if id != p.ID && m.peer.Address != "" {
			others = append(others, m.peer)
		}
	}
	// The order of a map must not decide.
	slices.SortFunc(others, func(a, b p2p.Peer) int { return strings.Compare(a.ID, b.ID) })
	t.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	if len(others) <= maxNeighbours {
		return others
	}
	slices.SortStableFunc(others, func(a, b p2p.Peer) int { return shared(p, b) - shared(p, a) })
	far := others[maxNear:]
	t.rand.Shuffle(len(far), func(i, j int) { far[i], far[j] = far[j], far[i] })
	return others[:maxNeighbours]
}

// shared counts the labels that two peers have in common.
func shared(a, b p2p.Peer) int {
	n := 0
	for k, v := range a.Labels {
		if b.Labels[k] == v {
			n++
		}
	}
	return n
}

// Hold records that a peer has the whole blob.
func (t *tracker) Hold(p p2p.Peer, dgst digest.Digest) {
	if len(t.of[p.ID]) < maxHeld {
		t.enter(p, dgst).whole = true
	}
}

// Holders returns the IDs of peers that have the whole blob.
func (t *tracker) Holders(dgst digest.Digest) []string {
	var ids []string
	for id, m := range t.swarms[dgst] {
		if m.whole {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Leave takes a peer out of a blob's swarm.
func (t *tracker) Leave(id string, dgst digest.Digest) {
	delete(t.of[id], dgst)
	if len(t.of[id]) == 0 {
		delete(t.of, id)
	}
	delete(t.swarms[dgst], id)
	if len(t.swarms[dgst]) == 0 {
		delete(t.swarms, dgst)
	}
}

// Gone forgets a peer.
func (t *tracker) Gone(id string) {
	for dgst := range t.of[id] {
		t.Leave(id, dgst)
	}
}

var _ p2p.Tracker = (*tracker)(nil)
