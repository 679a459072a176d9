// Command containerd is containerd with Shoal's agent inside: an example for who
// builds a containerd of their own. It is a module of its own, since containerd
// needs many modules that Shoal does not. See plugin/containerd/builtin for how
// it is configured.
//
//	cd contrib/containerd && go build -o containerd .
package main

import (
	"context"
	"fmt"
	"os"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"

	_ "github.com/shoal-p2p/shoal/plugin/containerd/builtin"
)

func main() {
	if err := command.App().Run(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "containerd:", err)
		os.Exit(1)
	}
}
