package main

import "fmt"

const mib = 1 << 20

// testcase is an image, and the nodes that pull it.
type testcase struct {
	name   string
	layers int
	size   int64 // of a layer, in bytes
	nodes  int
	rate   int64 // of every link, in bits per second each way; 0: unshaped
	// alone leaves the supernode out: without shaping it would have to share
	// the processors with the node.
	alone bool
}

// cases are images of many small and of few large layers, on one node and on
// four, unshaped and on slow links, where they are smaller.
var cases = []testcase{
	{"few-1", 2, 256 * mib, 1, 0, true},
	{"many-1", 40, 4 * mib, 1, 0, true},
	{"few-4", 2, 256 * mib, 4, 0, false},
	{"many-4", 40, 4 * mib, 4, 0, false},
	{"few-1-slow", 2, 64 * mib, 1, 200e6, false},
	{"many-1-slow", 40, mib + mib/2, 1, 200e6, false},
	{"few-4-slow", 2, 64 * mib, 4, 200e6, false},
	{"many-4-slow", 40, mib + mib/2, 4, 200e6, false},
}

func (c testcase) bytes() int64 { return int64(c.layers) * c.size }

func (c testcase) String() string {
	links := "unshaped"
	if c.rate > 0 {
		links = fmt.Sprintf("%d Mbit/s", c.rate/1e6)
	}
	nodes := "1 node"
	switch {
	case c.nodes > 1:
		nodes = fmt.Sprintf("%d nodes", c.nodes)
	case c.alone:
		nodes = "1 node without a supernode"
	}
	return fmt.Sprintf("%s: %d layers of %g MiB, %s, %s", c.name, c.layers, float64(c.size)/mib, nodes, links)
}

// way is how an image gets into containerd.
type way struct {
	name string
	// flags are the agents'; nil means that containerd asks the registry.
	flags []string
	// inside is one whose agent is inside containerd, which has no flags.
	inside bool
}

var ways = []way{
	{name: "plain"},
	{name: "stream", flags: []string{"--containerd-ingest", "stream"}},
	{name: "direct", flags: []string{"--containerd-ingest", "direct"}},
	{name: "inside", flags: []string{}, inside: true},
}
