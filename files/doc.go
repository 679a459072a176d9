// Package files answers GET and HEAD for files of any HTTP server, and brings them
// through the swarm. Requests have absolute URLs, as those to a proxy do.
//
// Terms. A spec says how a file is asked for and which version of it is meant; all
// members of a swarm make the same of it, and its ID follows from it. An answer is
// what the source last said about a file: its version and its headers. It is fresh
// for as long as the source allows, and stale afterwards.
//
// A request goes one of three ways:
//
//   - what the source may say about the file is known and fresh, or is asked with
//     HEAD: the bytes come from the swarm, under the ID of that version;
//   - the source cannot be asked: what is known and may be stale is served, and
//     says so;
//   - the source says too little (no size, no version), or that the answer is for
//     one client only: it is relayed.
//
// Invariants. Whoever gets bytes has been let in by the source, with its own
// credentials. Unless an answer is public, the ID of what was asked for with
// credentials depends on them, so that those with others never meet it. A version
// that is no longer at its source is never mixed with another one. No credentials
// are logged or written to disk.
package files
