// Package picker decides: which piece goes to which neighbour, whether an
// offered piece is taken, how many transfers run at once, how far ahead a node
// asks, and what it reads from the upstream itself. It is pure: no I/O, no
// clock, no randomness but the source it is given.
//
// Transfers are begun by the sender. A node tells its neighbours what it holds
// and wants (a snapshot) and whether it would take a piece now (free or busy).
// A sender with an idle upload slot picks a free neighbour that wants something
// of it, and offers the piece with the fewest copies; the receiver takes or
// declines it. Upload and download slots are always equal in number: unequal
// ones starve either side.
//
// A seed differs: it sends a piece again only when no live neighbour could send
// it, and has one slot more, to which its receivers keep one more open.
//
// Terms: a blob is named by its digest, a node by its ID. A view is what a node
// believes of a neighbour for one blob. A quiet neighbour has not been heard of
// for a while; it counts as if it held nothing.
package picker
