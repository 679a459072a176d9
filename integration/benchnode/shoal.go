package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shoal-p2p/shoal/internal/freeport"
)

// The ways to run Shoal on a node.
const (
	storesNothing = "agent that stores nothing" // as in front of containerd, which stores itself
	alone         = "agent alone"
	up            = "shoal up"
	andSupernode  = "agent and supernode"
)

// node is an agent, or a supernode that is an agent too.
type node struct {
	pid           int
	mirror, admin string
}

// topology starts Shoal in one of the ways. Its CPU time is that of all pids.
func (b *bench) topology(ctx context.Context, g *group, through string) (n *node, pids []int, err error) {
	switch through {
	case storesNothing:
		n, err = b.agent(ctx, g, "--store-kind", "containerd",
			"--containerd-content-path", g.dir, "--containerd-address", filepath.Join(g.dir, "none.sock"))
	case alone:
		n, err = b.agent(ctx, g)
	case up:
		n, err = b.upNode(ctx, g)
	case andSupernode:
		var super *node
		if super, err = b.supernode(ctx, g); err != nil {
			return nil, nil, err
		}
		pids = append(pids, super.pid)
		n, err = b.agent(ctx, g, "--supernodes", super.admin)
	}
	if err != nil {
		return nil, nil, err
	}
	return n, append(pids, n.pid), g.awaitAgent(ctx, n)
}

func (b *bench) agent(ctx context.Context, g *group, args ...string) (*node, error) {
	port, err := freeport.Addrs(3)
	if err != nil {
		return nil, err
	}
	args = append([]string{"agent", "--mirror-listen", port[0], "--admin-listen", port[1], "--peer-listen", port[2]}, args...)
	return b.startNode(ctx, g, &node{mirror: port[0], admin: port[1]}, args)
}

func (b *bench) supernode(ctx context.Context, g *group) (*node, error) {
	port, err := freeport.Addrs(1)
	if err != nil {
		return nil, err
	}
	return b.startNode(ctx, g, &node{admin: port[0]}, []string{"supernode", "--listen", port[0]})
}

func (b *bench) upNode(ctx context.Context, g *group) (*node, error) {
	port, err := freeport.Addrs(3)
	if err != nil {
		return nil, err
	}
	return b.startNode(ctx, g, &node{mirror: port[0], admin: port[1]},
		[]string{"up", "--mirror-listen", port[0], "--admin-listen", port[1], "--listen", port[2]})
}

func (b *bench) startNode(ctx context.Context, g *group, n *node, args []string) (*node, error) {
	data := filepath.Join(g.dir, fmt.Sprintf("data%d", len(g.all)))
	var err error
	n.pid, err = g.start(ctx, b.binary, append(args, "--plain-http", b.up.host, "--log-level", "error", "--data-dir", data)...)
	return n, err
}

// awaitAgent waits until an agent serves, and has found its supernode.
func (g *group) awaitAgent(ctx context.Context, n *node) error {
	return g.await(ctx, "http://"+n.admin+"/api/v1/status", func(status []byte) bool {
		return !bytes.Contains(status, []byte(`"connected":false`))
	})
}

// counter reads a counter, named with its labels.
func (n *node) counter(ctx context.Context, name string) (int64, error) {
	text, err := get(ctx, "http://"+n.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(v), err
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", n.admin, name)
}
