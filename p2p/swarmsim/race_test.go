//go:build race

package swarmsim

// many nodes take minutes under the race detector.
const many = 200
