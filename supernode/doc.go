// Package supernode introduces peers to each other, reads each blob from its
// upstream once, and seeds it.
//
// A supernode is two things side by side. The tracker knows which agents take
// part in which blob's swarm and which hold it whole, and decides who meets
// whom. The seed is a [p2p.Node] that reads blobs from the upstream into its
// own store, names the digest of every piece as soon as it has read it, and
// sends each piece about once to the whole swarm.
//
// All that the tracker knows is soft: agents tell it again when they connect.
// What the store holds outlives a restart.
package supernode
