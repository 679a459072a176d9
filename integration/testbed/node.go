package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/p2p"
)

// Node is a machine of the cluster.
type Node struct {
	Name       string
	Agent      *Process
	Containerd *Process

	c    *Cluster
	host host
	dir  string
}

const (
	mirrorAddr = "127.0.0.1:65001"
	adminAddr  = "127.0.0.1:65003"
)

// Start starts the node's containerd and agent.
func (n *Node) Start(ctx context.Context) error {
	if n.usesContainerd() {
		if err := n.StartContainerd(ctx); err != nil {
			return err
		}
	}
	return n.StartAgent(ctx)
}

func (n *Node) usesContainerd() bool { return n.c.o.Store == "" || n.c.o.Store == "containerd" }

// StartAgent starts the agent, again if it has ended. The flags are added to
// those of the cluster. An agent inside containerd starts with that, and has no
// flags.
func (n *Node) StartAgent(ctx context.Context, flags ...string) error {
	if n.c.o.Builtin {
		if n.Containerd.ended() {
			if err := n.StartContainerd(ctx); err != nil {
				return err
			}
		}
		n.Agent = n.Containerd
		return n.awaitAgent(ctx)
	}
	args := []string{
		n.c.o.Shoal, "agent", "--mirror-listen", mirrorAddr, "--admin-listen", adminAddr,
		"--peer-listen", n.host.ip + ":65002", "--peer-advertise", n.host.ip + ":65002",
		"--data-dir", n.DataDir(), "--plain-http", Registry,
	}
	if !n.c.o.NoSupernode {
		args = append(args, "--supernodes", Supernode)
	}
	if n.usesContainerd() {
		args = append(args, "--store-kind", "containerd", "--containerd-address", n.Socket(), "--containerd-content-path", n.ContentPath())
		if n.c.o.Ingest != "" {
			args = append(args, "--containerd-ingest", n.c.o.Ingest)
		}
	} else {
		args = append(args, "--store-kind", n.c.o.Store)
	}
	p, err := n.c.start(n.host, n.Name+"-agent", slices.Concat(args, n.c.o.AgentFlags, flags)...)
	if err != nil {
		return err
	}
	n.Agent = p
	return n.awaitAgent(ctx)
}

// awaitAgent waits until the agent has found its supernode.
func (n *Node) awaitAgent(ctx context.Context) error {
	return n.c.await(ctx, n.Agent, n.host, "http://"+adminAddr+"/api/v1/status", func(body string) bool {
		return n.c.Supernode == nil || n.c.Supernode.ended() || strings.Contains(body, `"connected":true`)
	})
}

// DataDir is the agent's.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "shoal") }

// StoreDir is the content store that blobs end up in.
func (n *Node) StoreDir() string {
	if n.usesContainerd() {
		return n.ContentPath()
	}
	return filepath.Join(n.DataDir(), "content")
}

// Command runs any program on the node, for clients of the mirror.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.host.command(ctx, name, args...)
}

// Ask asks the node's mirror. The path may hold a query.
func (n *Node) Ask(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	return n.AskHost(ctx, method, mirrorAddr, path, header)
}

// AskHost asks any server that the node reaches, host:port.
func (n *Node) AskHost(ctx context.Context, method, host, path string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	return n.host.client().Do(req)
}

// Fetch reads a path of the mirror to its end into w.
func (n *Node) Fetch(ctx context.Context, path string, w io.Writer) (int64, error) {
	resp, err := n.Ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return 0, fmt.Errorf("mirror of %s answers %s: %s", n.Name, resp.Status, body)
	}
	return io.Copy(w, resp.Body)
}

// Metric is a metric of the agent, summed over the series whose labels hold
// label.
func (n *Node) Metric(ctx context.Context, name, label string) (float64, error) {
	return metric(ctx, n.host, "http://"+adminAddr+"/metrics", name, label)
}

// Status is the agent's own account.
func (n *Node) Status(ctx context.Context) (p2p.Status, error) {
	var s struct{ Node p2p.Status }
	body, err := get(ctx, n.host, "http://"+adminAddr+"/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	return s.Node, err
}

// Bytes is what the agent has received from a source so far.
func (n *Node) Bytes(ctx context.Context, source string) (int64, error) {
	v, err := n.Metric(ctx, "shoal_blob_bytes_total", `source="`+source+`"`)
	return int64(v), err
}
