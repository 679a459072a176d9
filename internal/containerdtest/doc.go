// Package containerdtest runs real containerd daemons for tests, each with its
// own directories and socket, without CRI.
//
// Which containerd: SHOAL_CONTAINERD names one binary, or several separated by
// colons; else the one in PATH. Without any, or without root, tests skip and
// say so.
package containerdtest
