// Package testbed builds a cluster on one machine, for tests, demos and
// benchmarks: hosts are network namespaces on a bridge, which lies in a
// namespace of its own, so that nothing outside sees the traffic.
//
//	registry    10.77.0.2:5000   Debian's docker-registry behind a fault proxy that counts
//	supernode   10.77.0.3:8002
//	node k      10.77.0.(10+k)   an agent, and a containerd that pulls through it
//
// Everything that a cluster starts, it ends: processes by their pid, then the
// mounts below its directory, then its namespaces. It needs root.
package testbed
