// Package p2p is one node in its swarms.
package p2p
