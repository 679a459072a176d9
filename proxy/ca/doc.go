// Package ca makes the certificates with which the proxy opens HTTPS
// connections.
//
// Words. A pair is a certificate with its key, in PEM files. A CA may sign for
// others; it is what users of the proxy trust. A leaf is for one host, signed by
// the CA.
//
// What holds:
//   - A key that others on the machine can read is refused.
//   - A leaf has a key of its own, lives for a day, begins an hour ago for
//     clocks that are behind, and is replaced before it ends.
//   - How many leaves are kept is bounded; one host's leaf is made once, however
//     many ask at the same time.
//   - A leaf that the CA must not sign, by its name constraints or its age, is
//     an error here rather than a puzzle for who connects.
//   - A pair that is no CA is presented as it is, to every host.
package ca
