// Package daemon runs the servers of a process from start to end.
//
// All addresses are bound before anything runs, so that a daemon that cannot
// serve says so at once. When its context ends, which it does in a
// process of its own on SIGTERM or SIGINT, it stops accepting, lets the
// requests of clients finish for a while, then ends the streams between nodes,
// and returns when every goroutine has ended. A second signal ends it at once.
package daemon
