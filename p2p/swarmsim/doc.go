// Package swarmsim plays a swarm on a clock of its own. Every node and the seed
// decide with the real [picker.State]; what is simulated is the rest of a node:
// messages, transfers, links, and nodes that fail. The same scenario always
// gives the same result, so that a policy can be judged before it meets a
// network, and a run of a real swarm can be compared with what it should do.
//
// # The model
//
// Links are fluid. The flows on a link share its rate equally; what one of them
// cannot use because of its other end, the others get. A link is full duplex.
// Every message and every byte takes half a round trip, and a message passes
// the bytes that the kernel has taken already: see [Scenario.Queue]. Hashing,
// disks and processors take no time.
//
// A node tells each neighbour now and then what it holds and wants and whether
// it is free, and some at once that it has become free. It offers pieces,
// declines or fetches what it is offered, and gives the slots of a transfer
// back shortly before its end or when it takes too long. All of that is as in
// the engine, package p2p, whose constants are repeated here. A node knows its
// own link's rates; the engine has to learn them.
//
// The bound of a node is the time in which its own link, or the upstream, could
// bring all bytes.
package swarmsim
