// Command shoal is a registry mirror with peer-to-peer blob distribution.
package main

import (
	"os"

	"github.com/shoal-p2p/shoal/cmd/shoal/cli"
)

func main() { os.Exit(cli.Main()) }
