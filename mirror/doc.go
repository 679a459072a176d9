// Package mirror answers the pull and discovery side of the OCI distribution
// spec 1.1 on a node, for the registry that each request names:
//
//	GET, HEAD  /v2/                          does the registry want a login
//	GET, HEAD  /v2/<name>/manifests/<ref>    by tag or digest
//	GET, HEAD  /v2/<name>/blobs/<digest>     with single ranges
//	GET, HEAD  /v2/<name>/tags/list          n, last
//	GET, HEAD  /v2/<name>/referrers/<digest> artifactType
//
// The registry is that of the query parameter ns, else that of the path prefix
// /<registry>/v2/, else the default one.
//
// Words. A target is a request that has been understood. A span is the part of
// some content that it asks for. A manifest is kept if memory or the store has
// its bytes, and stale if it is served because the upstream is ill. A grant is
// the upstream's yes to a credential for a repository, remembered for a while.
//
// Invariants. Manifests come from the upstream and pass byte for byte; those
// asked for by digest are kept, and a tag is asked anew every time. Blobs come
// from the swarm: see package p2p. No header is sent before the first verified
// byte is at hand, since a client can still go elsewhere then; after that a
// failure cuts the connection. HEAD starts no fill. Nothing is compressed,
// nothing is written, and every failure is an OCI error body.
//
// Authorisation is the upstream's: credentials go up, challenges come down
// unchanged. A kept manifest is served only under a grant, stale ones included:
// an upstream that cannot be asked has not said yes. Blobs are not under grants
// yet.
package mirror
