// Package contentdir reads the directory in which containerd's local content
// store keeps its bytes, be it our own or that of a running containerd.
//
//	blobs/<algorithm>/<hex>   a committed blob; in our own also a file, with the algorithm "file"
//	ingest/<hash>/data        the bytes of a blob that is being received
//	ingest/<hash>/ref         the reference it is received under
//
// hash is the hex SHA-256 of the reference. What a running containerd writes
// there has the form <namespace>/<sequence>/<reference of the client>.
//
// What holds:
//   - A blob gets into blobs by rename only, after its digest was checked. A
//     file that is there is whole, and its bytes never change.
//   - That rename keeps open descriptors valid: one that was opened on
//     ingest/<hash>/data reads the blob afterwards, also once it is deleted.
//
// Nothing here writes.
package contentdir
