package p2p

import (
	"context"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

// Peer is a node that others can be introduced to.
type Peer struct {
	ID      string
	Address string // host:port where it serves pieces
	Labels  map[string]string
}

// Tracker knows who holds and wants which blob, and decides who meets whom. A
// seed calls it with its own lock held: it must not block or call back.
type Tracker interface {
	// Join adds a peer to a blob's swarm and returns whom it should meet.
	Join(p Peer, dgst digest.Digest) []Peer
	// Hold records that a peer has the whole blob.
	Hold(p Peer, dgst digest.Digest)
	// Holders returns the IDs of peers that have the whole blob, not all if
	// there are many.
	Holders(dgst digest.Digest) []string
	// Leave takes a peer out of a blob's swarm.
	Leave(id string, dgst digest.Digest)
	// Gone forgets a peer.
	Gone(id string)
	// Held tells how many blobs a peer has announced, AllHeld how many all
	// have together.
	Held(id string) int
	AllHeld() int
}

// maxEntries is how many agents a seed sends pieces of a blob to, unless others
// starve: the rest of the swarm gets them from those.
const maxEntries = 32

// replaceEntry takes an agent out of those that the seed sends pieces to, and another in.
// Callers hold n.mu.
func (t *task) replaceEntry(nb *neighbour) {
	if _, ok := t.entries[nb]; !ok {
		return
	}
	delete(t.entries, nb)
	for _, other := range t.n.neighbours {
		_, member := other.told[t.id]
		if _, ok := t.entries[other]; !ok && member && other != nb {
			t.entries[other] = struct{}{}
			other.say(&wire.Frame{Kind: &wire.Frame_Task{Task: &wire.Task{Blob: t.id, Size: t.layout.Size, PieceSize: t.layout.PieceSize, Entry: true}}})
			return
		}
	}
}

// maxProofs bounds the Sums that a seed remembers of blobs that it no longer
// serves: 2 MiB of them, or twice that with SHA-512.
const maxProofs = 64 << 10

// hearAgent takes what an agent says to its supernode. Callers hold n.mu.
func (n *Node) hearAgent(nb *neighbour, f *wire.Frame) {
	me := Peer{ID: nb.id, Address: nb.addr, Labels: nb.labels}
	switch k := f.GetKind().(type) {
	case *wire.Frame_Announce:
		for _, gone := range k.Announce.GetGone() {
			n.hearLeave(nb, gone)
		}
		for _, b := range k.Announce.GetBlobs() {
			n.cfg.Tracker.Hold(me, digest.Digest(b.GetDigest()))
			if t := n.tasks[b.GetDigest()]; t != nil && t.known {
				n.observeHolder(t, nb.id)
			}
		}
	case *wire.Frame_Join:
		dgst := digest.Digest(k.Join.GetBlob())
		o := k.Join.GetOrigin()
		src := n.cfg.SourceFor(Origin{Registry: o.GetRegistry(), Repository: o.GetRepository(), Authorization: o.GetAuthorization(), File: o.GetFile()}, dgst)
		n.spawn(func() { n.admit(nb, dgst, src) })
	}
}

// admit lets an agent into a blob's swarm.
func (n *Node) admit(nb *neighbour, dgst digest.Digest, src Source) {
	ctx, cancel := context.WithTimeout(n.life(), openTimeout)
	defer cancel()
	t, err := n.obtain(ctx, dgst, src)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.neighbours[nb.id] != nb {
		return
	}
	switch {
	case err != nil:
		n.refuse(nb, dgst.String(), err)
	case t.err != nil:
		n.refuse(nb, t.id, t.err)
	case t.known:
		n.introduce(nb, t)
	default:
		t.awaiting[nb] = struct{}{}
	}
}

// introduce answers Join: the layout, the peers, and the Sums known so far.
// Callers hold n.mu.
func (n *Node) introduce(nb *neighbour, t *task) {
	t.used = time.Now()
	if len(t.entries) < maxEntries {
		t.entries[nb] = struct{}{}
	}
	_, entry := t.entries[nb]
	w := &wire.Task{Blob: t.id, Size: t.layout.Size, PieceSize: t.layout.PieceSize, Entry: entry}
	for _, p := range n.cfg.Tracker.Join(Peer{ID: nb.id, Address: nb.addr, Labels: nb.labels}, t.dgst) {
		w.Peers = append(w.Peers, &wire.Peer{Id: p.ID, Address: p.Address})
	}
	for _, id := range n.cfg.Tracker.Holders(t.dgst) {
		n.observeHolder(t, id)
	}
	nb.say(&wire.Frame{Kind: &wire.Frame_Task{Task: w}})
	nb.told[t.id] = 0
}

// observeHolder counts the copies of a peer that has announced the whole blob.
func (n *Node) observeHolder(t *task, id string) {
	pieces := t.layout.Count()
	n.picker.Observe(id, t.id, picker.Snapshot{Have: piece.Full(pieces), Want: piece.NewBitfield(pieces)})
}

// tellTask introduces all who wait for the layout. Callers hold n.mu.
func (n *Node) tellTask(t *task) {
	for nb := range t.awaiting {
		n.introduce(nb, t)
	}
	clear(t.awaiting)
}

// sumsDue lets the members of a swarm hear the Sums that are new.
// Callers hold n.mu.
func (n *Node) sumsDue(t *task) {
	for _, nb := range n.neighbours {
		if _, ok := nb.told[t.id]; ok {
			nb.rouse()
		}
	}
}

// refuse tells an agent that a blob cannot be provided. Callers hold n.mu.
func (n *Node) refuse(nb *neighbour, blob string, err error) {
	f := &wire.Failure{Blob: blob, Side: string(oci.SideSupernode), Status: http.StatusBadGateway, Code: oci.CodeUnavailable, Message: err.Error()}
	if e := asOCI(err); e != nil {
		f.Side, f.Status, f.Code, f.Message = string(e.Side), uint32(e.Status), e.Code, e.Message
	}
	f.Message = f.Message[:min(len(f.Message), 2048)]
	nb.say(&wire.Frame{Kind: &wire.Frame_Failure{Failure: f}})
}

// leave tells the neighbours that this node takes no part in a blob's swarm
// any more; a seed tells why. Callers hold n.mu.
func (n *Node) leave(t *task) {
	n.forgetOffers(t.id)
	for nb := range t.awaiting {
		if t.err != nil {
			n.refuse(nb, t.id, t.err)
		}
	}
	clear(t.awaiting)
	for _, nb := range n.neighbours {
		if _, member := nb.told[t.id]; member {
			if t.err != nil {
				n.refuse(nb, t.id, t.err)
			}
			delete(nb.told, t.id)
		}
		if nb.shares[t.id] {
			delete(nb.shares, t.id)
			delete(nb.due, t.id)
			if !n.cfg.Seed && (nb != n.super || !t.stored) {
				nb.say(&wire.Frame{Kind: &wire.Frame_Leave{Leave: &wire.Leave{Blob: t.id}}})
			}
		}
	}
}

// join asks the supernode to be let into a blob's swarm. Callers hold n.mu.
func (n *Node) join(t *task) {
	if n.super == nil || t.superFailed || len(t.sources) == 0 {
		return
	}
	n.holdings.forget(t.dgst) // who joins has not got it
	o := t.sources[len(t.sources)-1].Origin()
	n.super.say(&wire.Frame{Kind: &wire.Frame_Join{Join: &wire.Join{
		Blob:   t.id,
		Origin: &wire.Origin{Registry: o.Registry, Repository: o.Repository, Authorization: o.Authorization, File: o.File},
	}}})
}

// remember keeps the Sums of a blob that is no longer served. Callers hold
// n.mu.
func (n *Node) remember(t *task) {
	if !n.cfg.Seed || !t.known || !t.proven.All() || t.layout.Count() > maxProofs/4 {
		return
	}
	if _, ok := n.proofs[t.dgst]; ok {
		return
	}
	n.proofs[t.dgst] = t.sums
	n.proofOrder = append(n.proofOrder, t.dgst)
	n.proofCount += len(t.sums)
	for n.proofCount > maxProofs {
		oldest := n.proofOrder[0]
		n.proofOrder = n.proofOrder[1:]
		n.proofCount -= len(n.proofs[oldest])
		delete(n.proofs, oldest)
	}
}

// recall takes up the Sums of a blob that was served before.
func (n *Node) recall(t *task) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	sums, ok := n.proofs[t.dgst]
	if !ok || len(sums) != t.layout.Count() {
		return false
	}
	for i, s := range sums {
		t.prove(i, s)
	}
	n.picker.HoldAll(t.id)
	n.sumsDue(t)
	n.pump()
	return true
}
