// Package agent is one node's agent, to run in a program of your own: the
// registry mirror, the node in its swarms, and what operators ask.
//
// `shoal agent` is this package with a command line before it; see the example.
//
// Words. The store holds the blobs: [github.com/shoal-p2p/shoal/plugin/local],
// [github.com/shoal-p2p/shoal/plugin/containerd], or one of your own that passes
// [github.com/shoal-p2p/shoal/p2p/storetest]. The mirror answers clients of this
// machine, the peer port answers other nodes, and the admin handler operators.
//
// What holds:
//   - The agent serves where it is told to: at an address, on a listener, or
//     nowhere, and then its handlers belong into servers of yours.
//   - It logs where log.G of Run's context does, sets nothing that belongs to
//     the whole process (signals, log level, memory limit), and registers
//     metrics only where it is told to.
//   - When Run returns, no goroutine of the agent is left, and its metrics are
//     no longer registered. The store is yours to close then.
package agent
