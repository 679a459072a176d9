// Package local is the embedded content store: containerd's own local store,
// used as a library, for nodes without a containerd to lean on.
//
// Glossary:
//   - blob: a file blobs/<algorithm>/<hex>, whole and checked.
//   - ingest: a blob being received, in ingest/<hash>/data, under the
//     reference shoal-<digest>. It survives Close and a restart, and goes on
//     where it was left.
//   - label: a key and value about a blob, in labels/<algorithm>/<hex>.
//   - entry: what the index knows of a blob or an ingest: its bytes, when it
//     was last used, and how many hold it open.
//
// What holds:
//   - The directory belongs to one process at a time (flock).
//   - Bytes go to the disk once. One descriptor, opened on the ingest's file,
//     writes it, reads it back, and outlives the rename of the commit.
//   - A commit is fsync, digest check, rename, fsync of the directory; a crash
//     at any point leaves an ingest or a blob, never half of one.
//   - Bytes with a wrong digest are discarded, never kept for a resume.
//   - Under Config.MaxBytes, blobs that nobody holds open go first, the least
//     recently used one before all others. What is open stays, even if that
//     means that a new blob is refused; the engine then streams it unstored.
//
// containerd's writer takes the reference's lock, lays out the ingest and finds
// what an earlier one left. The bytes bypass it: it would write them and then
// hash them, one after the other, and hold a node at the sum of both.
package local
