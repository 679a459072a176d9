// Package p2p is one node in its swarms: it fills blobs from other nodes and
// the upstream, gives them to clients in order while they come, and passes their
// pieces on.
//
// Terms.
//
//   - A blob is cut into pieces (package piece). A task is a blob on this node:
//     filled, or served to the swarm. A fill is the first kind; there is one per
//     digest, and it belongs to no client.
//   - A swarm is all nodes that fill or hold one blob. A neighbour is a node at
//     the other end of a stream; a peer is one that is not the supernode.
//   - The seed is the node that reads the upstream for a swarm and names the
//     digests of its pieces. A piece whose digest is known is proven.
//   - A content is a client's hold on a blob, and has a cursor: the first piece
//     that it may still read. The window is what a node asks for: the pieces
//     that follow the first missing one at each cursor and at the store's end.
//   - The ingest is where pieces go in order; the sink brings them there. What it
//     can give back is backed, everything else that is held lies in memory.
//
// Invariants.
//
//   - No client gets a byte that was not verified: a piece from another node by
//     its digest, a blob by its own. The last piece waits for the latter.
//   - No peer is offered a piece that is not proven, unless the blob is whole, or
//     this node has read the piece itself while nobody names digests.
//   - A byte that this node has read from the upstream is not read again while
//     the store or memory can give it back.
//   - Pieces in memory never exceed the budget. Every wait ends: with a context,
//     a timeout, or the task.
//   - Node.mu guards all state of nodes, tasks and neighbours. It is never held
//     while reading or writing files and sockets.
package p2p
