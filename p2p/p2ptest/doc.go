// Package p2ptest is what tests of swarms share: a store in memory, and an
// upstream that fails on demand.
package p2ptest
