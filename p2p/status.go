package p2p

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
}
