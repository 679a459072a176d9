// Package get downloads files for shoal get.
//
// A [Getter] asks an engine, which is an agent's mirror or a handler in this
// process, for one URL after the other. Both speak the same protocol:
//
//	GET https://host/path?query HTTP/1.1     the absolute form, also for https: the engine fetches it
//	Shoal-Get: p2p                           or source: past the swarm
//	Shoal-Filter: sig, token                 parameters of the query that do not name content, percent-encoded
//	Shoal-Digest: sha256:…                   what the whole file shall have, so that the swarm knows it by that
//	Shoal-Keep: 1                            the agent's store shall hold it, too
//	Range: bytes=100-199                     the part that is wanted, which is content of its own
//
// A download that broke goes on with
//
//	Range: bytes=150-199                     what is missing
//	If-Range: "etag"                         or the Last-Modified date
//	Shoal-Resume: bytes=100-199              the Range of the content that is continued; 1 if it is the whole file
//
// and the user's headers in both. The engine's own errors have a header Shoal-Error,
// which is final where another try is in vain, else temporary. Words used here:
//
//	content    the bytes that the output shall have: those of the file, or of the part of it that was asked for
//	offset     counts bytes of the content
//	base       where in the file the content begins
//	validator  a strong ETag, or a Last-Modified date that is as good, by which a source recognises the content
//	part       the file .NAME.shoal-part beside the output, and its notes in .NAME.shoal-part.json
//
// What must hold: an output is there under its name only when it is whole and has
// the digests that were asked for. Bytes of two versions of a file are never mixed:
// where no validator vouches for it, a download starts again. Nothing that can be a
// secret (user names and passwords, headers, the query of a URL) is in an error, a
// note, or a file other than the output.
package get
