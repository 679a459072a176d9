package supernode

import (
	"iter"
	"math/rand/v2"
	"slices"

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
	// maxConsidered bounds the members of a swarm that neighbours are chosen
	// from: a base image lies on every node of a cluster.
	maxConsidered = 256
	// maxHolders bounds those that count as copies.
	maxHolders = 32
	// maxHeld bounds what one agent can make the tracker remember.
	maxHeld = 100_000
)

// tracker knows who takes part in which blob's swarm. It is pure, and not safe
// for concurrent use: the seed calls it under its own lock.
//
// What nodes held before there was Shoal is most of what it knows: some 50 bytes
// for each blob of each node, and no step that grows with the number of holders.
type tracker struct {
	rand   *rand.Rand
	swarms map[digest.Digest]*swarm
	peers  map[string]*peer
	held   int // of all peers
}

// swarm is all peers that hold or fill one blob.
type swarm struct {
	dgst    digest.Digest
	members []member // in no order
}

type member struct {
	peer  *peer
	whole bool // holds all of the blob
}

type peer struct {
	p2p.Peer
	in   map[*swarm]int32 // where it stands among the members
	held int              // blobs that it holds whole
}

func newTracker(rand *rand.Rand) *tracker {
	return &tracker{rand: rand, swarms: map[digest.Digest]*swarm{}, peers: map[string]*peer{}}
}

// enter makes a peer a member of a blob's swarm.
func (t *tracker) enter(p p2p.Peer, dgst digest.Digest, whole bool) {
	pr := t.peers[p.ID]
	if pr == nil {
		pr = &peer{in: map[*swarm]int32{}}
		t.peers[p.ID] = pr
	}
	pr.Peer = p
	s := t.swarms[dgst]
	if s == nil {
		s = &swarm{dgst: dgst}
		t.swarms[dgst] = s
	}
	i, ok := pr.in[s]
	if !ok {
		i = int32(len(s.members)) //nolint:gosec // nodes of a cluster
		s.members = append(s.members, member{peer: pr})
		pr.in[s] = i
	}
	m := &s.members[i]
	t.count(m, whole)
	m.whole = whole
}

// count keeps the sums when what is known of a member changes.
func (t *tracker) count(m *member, whole bool) {
	switch {
	case whole && !m.whole:
		t.held++
		m.peer.held++
	case !whole && m.whole:
		t.held--
		m.peer.held--
	}
}

// leave takes a peer out of a swarm.
func (t *tracker) leave(pr *peer, s *swarm) {
	i, ok := pr.in[s]
	if !ok {
		return
	}
	t.count(&s.members[i], false)
	last := len(s.members) - 1
	s.members[i] = s.members[last]
	s.members[i].peer.in[s] = i
	s.members[last] = member{}
	s.members = s.members[:last]
	delete(pr.in, s)
	if last == 0 {
		delete(t.swarms, s.dgst)
	}
	if len(pr.in) == 0 {
		delete(t.peers, pr.ID)
	}
}

// Join adds a peer to a blob's swarm and returns whom it should meet.
func (t *tracker) Join(p p2p.Peer, dgst digest.Digest) []p2p.Peer {
	t.enter(p, dgst, false)
	var others []p2p.Peer
	for m := range t.some(t.swarms[dgst], maxConsidered+1) {
		if m.peer.ID != p.ID && m.peer.Address != "" {
			others = append(others, m.peer.Peer)
		}
	}
	if len(others) <= maxNeighbours {
		return others
	}
	slices.SortStableFunc(others, func(a, b p2p.Peer) int { return shared(p, b) - shared(p, a) })
	far := others[maxNear:]
	t.rand.Shuffle(len(far), func(i, j int) { far[i], far[j] = far[j], far[i] })
	return others[:maxNeighbours]
}

// some goes through members of a swarm at random, n at most.
func (t *tracker) some(s *swarm, n int) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		if s == nil {
			return
		}
		count := len(s.members)
		order := map[int]int{} // the places that a shuffle has changed so far
		at := func(i int) int {
			if v, ok := order[i]; ok {
				return v
			}
			return i
		}
		for i := range min(n, count) {
			j := i + t.rand.IntN(count-i)
			k := at(j)
			order[j] = at(i)
			if !yield(&s.members[k]) {
				return
			}
		}
	}
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
	if pr := t.peers[p.ID]; pr == nil || len(pr.in) < maxHeld {
		t.enter(p, dgst, true)
	}
}

// Holders returns the IDs of peers that have the whole blob, not all if there
// are many.
func (t *tracker) Holders(dgst digest.Digest) []string {
	var ids []string
	for m := range t.some(t.swarms[dgst], maxConsidered) {
		if m.whole {
			ids = append(ids, m.peer.ID)
		}
		if len(ids) == maxHolders {
			break
		}
	}
	return ids
}

// Held tells how many blobs a peer has announced.
func (t *tracker) Held(id string) int {
	if pr := t.peers[id]; pr != nil {
		return pr.held
	}
	return 0
}

// AllHeld tells how many blobs all peers have announced together.
func (t *tracker) AllHeld() int { return t.held }

// Leave takes a peer out of a blob's swarm.
func (t *tracker) Leave(id string, dgst digest.Digest) {
	if pr, s := t.peers[id], t.swarms[dgst]; pr != nil && s != nil {
		t.leave(pr, s)
	}
}

// Gone forgets a peer.
func (t *tracker) Gone(id string) {
	if pr := t.peers[id]; pr != nil {
		for s := range pr.in {
			t.leave(pr, s)
		}
	}
}

var _ p2p.Tracker = (*tracker)(nil)
