// Package wire is what nodes say to each other: the messages of the stream
// between two neighbours (swarm.proto), their limits, and the plain HTTP
// request for a piece.
//
// Version 1. Both ends open with Hello and then send frames as they like:
//
//	neighbours            Snapshot, Slots, Offer, Reject, Leave
//	agent → supernode     Join, Announce
//	supernode → agent     Task, Sums, Failure
//
// An offered piece is fetched with GET /v1/pieces/{blob}/{index} from the
// address in the sender's Hello, with the header Shoal-Node naming the asker.
// The answer is the bare piece.
//
// What a remote side sends is never trusted: [Check] bounds every frame before
// anyone looks at it.
package wire
