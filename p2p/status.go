package p2p

import (
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/metrics"
)

// Status is what a node tells about itself.
type Status struct {
	ID        string           `json:"id"`
	Supernode *SupernodeStatus `json:"supernode,omitempty"` // nil: none configured
	Peers     []PeerStatus     `json:"peers"`
	Tasks     []TaskStatus     `json:"tasks"`
	// Bytes received, by source: upstream, supernode, peer; and store, the
	// bytes that clients got from the content store.
	Bytes map[string]int64 `json:"bytes"`
	// UploadBytes went to other nodes.
	UploadBytes int64 `json:"uploadBytes"`
	// MemoryBytes are pieces held in memory now; MemoryLimit is the budget.
	MemoryBytes int64 `json:"memoryBytes"`
	MemoryLimit int64 `json:"memoryLimit"`
	// Announced is how many blobs of the store the supernode knows of; on a
	// supernode, those of all agents.
	Announced int `json:"announced"`
}

// SupernodeStatus is the node's view of its supernode.
type SupernodeStatus struct {
	Address   string `json:"address"`
	Connected bool   `json:"connected"`
}

// PeerStatus is one connected neighbour.
type PeerStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Tasks   int    `json:"tasks"` // blobs in which it is a neighbour
	// Announced is how many blobs it has told a supernode of; 0 on agents.
	Announced int `json:"announced,omitempty"`
}

// TaskStatus is one blob in the swarm.
type TaskStatus struct {
	Digest    string `json:"digest"`
	Size      int64  `json:"size"` // -1 until it is known
	PieceSize int64  `json:"pieceSize"`
	Pieces    int    `json:"pieces"`
	Held      int    `json:"held"`
	State     string `json:"state"` // filling, complete or failed
	Clients   int    `json:"clients"`
	Peers     int    `json:"peers"`
	// Bytes of it that were received, by source: upstream, supernode, peer.
	Bytes map[string]int64 `json:"bytes"`
}

// Status tells what the node does now.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{
		ID: n.cfg.ID, Peers: []PeerStatus{}, Tasks: []TaskStatus{}, Bytes: map[string]int64{},
		UploadBytes: n.uploaded.Load(), MemoryBytes: n.mem.inUse(), MemoryLimit: n.mem.limit, Announced: n.announced(),
	}
	if n.cfg.Supernode != "" {
		s.Supernode = &SupernodeStatus{Address: n.cfg.Supernode, Connected: n.super != nil}
	}
	for _, source := range []string{metrics.SourceUpstream, metrics.SourceSupernode, metrics.SourcePeer, metrics.SourceStore} {
		s.Bytes[source] = n.bytes.of(source).Load()
	}
	for _, nb := range n.neighbours {
		if !nb.seed {
			p := PeerStatus{ID: nb.id, Address: nb.addr, Tasks: len(nb.shares)}
			if n.cfg.Seed {
				p.Announced = n.cfg.Tracker.Held(nb.id)
			}
			s.Peers = append(s.Peers, p)
		}
	}
	for _, t := range n.tasks {
		s.Tasks = append(s.Tasks, t.status())
	}
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Tasks, func(a, b TaskStatus) int { return strings.Compare(a.Digest, b.Digest) })
	return s
}

// status describes the task. Callers hold n.mu.
func (t *task) status() TaskStatus {
	s := TaskStatus{Digest: t.id, Size: -1, State: "filling", Clients: len(t.contents), Bytes: map[string]int64{}}
	for _, source := range []string{metrics.SourceUpstream, metrics.SourceSupernode, metrics.SourcePeer} {
		s.Bytes[source] = t.bytes.of(source).Load()
	}
	if t.known {
		s.Size, s.PieceSize, s.Pieces = t.layout.Size, t.layout.PieceSize, t.layout.Count()
		s.Held, s.Peers = int(t.held.Count()), t.n.picker.Neighbours(t.id)
	}
	switch {
	case t.err != nil:
		s.State = "failed"
	case t.whole:
		s.State = "complete"
	}
	return s
}

func (n *Node) countUpload(bytes int64) {
	n.uploaded.Add(bytes)
	if n.cfg.Seed {
		n.cfg.Metrics.SeedBytes.Add(float64(bytes))
	} else {
		n.cfg.Metrics.UploadBytes.Add(float64(bytes))
	}
}

// count adds to the bytes received from a source.
func (n *Node) count(source string, bytes int) {
	n.cfg.Metrics.BlobBytes.WithLabelValues(source).Add(float64(bytes))
	n.bytes.add(source, int64(bytes))
	switch source {
	case metrics.SourceUpstream:
		n.cfg.Metrics.UpstreamBytes.Add(float64(bytes))
	case metrics.SourcePeer, metrics.SourceSupernode:
		n.downloaded.Add(int64(bytes))
	}
}
