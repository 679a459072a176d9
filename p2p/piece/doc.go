// Package piece is the arithmetic of pieces: how a blob is cut, which byte lies
// in which piece, and what a piece hashes to. It is pure.
//
// A blob of Size bytes is cut into pieces of PieceSize bytes; only the last may
// be shorter. Pieces are numbered from 0. An empty blob has no pieces. All
// members of a swarm use the same layout, which follows from the size alone
// (see [SizeFor]), so that nodes that never met agree on it.
package piece
