// Package containerd is the content store of a containerd that runs on this
// node, 1.6 or later, as Shoal sees it: it serves peers out of that store, and
// looks on while containerd fills it from our mirror, or fills it in containerd's
// place ([Direct]).
//
// Glossary:
//   - content path: the directory of containerd's content store. Where it can
//     be read, bytes come straight from its files; else over gRPC, at a tenth
//     of the speed.
//   - namespace: containerd's own division of its metadata. The files are
//     shared by all; a blob that any namespace knows counts as held.
//   - reference: what a writer locks. containerd's fetch uses
//     remotes.MakeRefKey, e.g. layer-sha256:…; its content store writes under
//     <namespace>/<sequence>/<reference>.
//   - pin: a blob that is served, held by a lease shoal-serving/<run>/<number>
//     in a namespace that has it.
//   - growing file: ingest/<hash>/data of a blob that containerd is receiving.
//   - stream, direct: the ways of a layer into containerd. In stream mode
//     containerd reads it from the mirror. In direct mode the agent holds the
//     layer's writer; containerd finds the reference locked, asks again for up
//     to two seconds after it is free, and then has the layer.
//
// What holds:
//   - An [Store.Ingest] writes nothing, whoever fills containerd. It hashes what streams by and
//     reads back from the growing file, with one descriptor that outlives the
//     rename of the commit; a blob is committed when containerd has it.
//   - Available is bounded by the growing file's size at that moment. It goes
//     back to zero if containerd discards the file.
//   - A [Direct] is one more client of the node: what it writes was verified, as
//     for all of them, and a fill is the same in both modes. It never aborts an
//     ingest, since containerd may have just taken it over. What it lets go of,
//     containerd goes on with, by a range through the mirror.
//   - What is written directly is under a lease of its own, one per pull. It goes
//     when nobody pulls the image any more, some seconds after the last layer at
//     the earliest; with the next start; or by itself within the hour.
//   - No wait is unbounded: containerd may be stopped, hang, or start later.
//     Connections are made when needed and again after a restart.
//   - [Store.Watch] misses nothing for long: after events come the times of the
//     blobs' directories, or a listing now and then.
//   - A pin never outlives the deletion of its image by more than pinTurn, nor
//     this process by more than pinExpiry, and nothing waits for it.
//   - Looking is cheap: a stat of an open file, or at most one listing of the
//     ingest directory per lookEvery for all blobs together.
package containerd
