// Package cli is the command line of Shoal: one file for each command, which
// reads the configuration and wires the other packages together.
package cli
