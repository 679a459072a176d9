// Package swarmsim plays a swarm on a clock of its own. Every node and the seed
// decide with the real [picker.State]; what is simulated is the rest of a node:
// messages, transfers, links, and nodes that fail. The same scenario always
// gives the same result, so that a policy can be judged before it meets a
// network, and a run of a real swarm can be compared with what it should do.
//
// # The model
//
// Links are fluid. A link's rate is shared equally by the transfers on it, and
// a transfer runs at the smaller of its two shares. A link is full duplex.
// Every message and every byte takes half a round trip. Hashing, disks and
// processors take no time.
//
// A node sends snapshots, FREE and BUSY to its neighbours, offers pieces,
// declines or fetches what it is offered, and gives its slots back shortly
// before the end of a transfer, as the engine in package p2p does. All
// neighbours hear a snapshot at the same time: it is one event, and who has an
// idle slot looks at once, the others before they offer next.
//
// The bound of a node is the time in which its own link, or the upstream, could
// bring all bytes.
package swarmsim
