package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Options says what a cluster is made of.
type Options struct {
	Shoal string // the binary
	Nodes int    // nodes with an agent and a containerd each
	// Spare nodes get their agent and containerd only from StartNode.
	Spare int
	// Containerd is the directory of containerd, ctr and the shim; "" means
	// those of $PATH.
	Containerd string
	// Builtin says that the agent is inside containerd: Containerd was built
	// by BuildInside. AgentFlags count for nothing.
	Builtin bool
	// ContainerdConfig is added to containerd's configuration, of version 2.
	ContainerdConfig string
	// Store is the agents' store.kind; "" means containerd. With any other, no
	// containerd is started.
	Store string
	// Ingest is the agents' containerd.ingest; "" means the default.
	Ingest string
	// Rate shapes every link, in bits per second each way; 0 does not.
	Rate int64
	// RegistryRate and NodeRates shape the registry's link and those of the
	// first nodes differently; 0 is Rate.
	RegistryRate int64
	NodeRates    []int64
	// UpstreamRate bounds what the registry sends, in bytes per second; 0
	// does not.
	UpstreamRate int64
	// AgentFlags are added to every agent, SupernodeFlags to the supernode.
	AgentFlags, SupernodeFlags []string
	// Names are what all processes resolve to the registry's host, where
	// [Cluster.Serve] answers.
	Names []string
	// NoSupernode leaves the supernode out.
	NoSupernode bool
	// Cache puts a pull-through cache, Debian's docker-registry in proxy mode,
	// on the supernode's host; it answers at [Cache].
	Cache bool
}

// Cluster is a running cluster.
type Cluster struct {
	Upstream  *Upstream
	Supernode *Process
	Nodes     []*Node

	o          Options
	id         string // prefix of its namespaces
	dir        string
	namespaces []string
	processes  []*Process
	registry   host
	super      host
	hosts      string // file that stands for /etc/hosts, "" for none
	servers    []*server
}

const (
	registryIP   = "10.77.0.2"
	registryPort = 5000
)

// Registry is how images of the cluster are named: host:port.
const Registry = registryIP + ":5000"

// Cache is the address of the pull-through cache.
const Cache = "10.77.0.3:5000"

// Supernode is the address of the supernode.
const Supernode = "10.77.0.3:8002"

// New builds a cluster. Close must be called, also after an error.
func New(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{o: o, id: fmt.Sprintf("shoal%d-%04x", os.Getpid(), rand.IntN(1<<16))}
	if os.Geteuid() != 0 {
		return c, errors.New("cluster: network namespaces need root")
	}
	var err error
	if err := sweep(ctx); err != nil {
		return c, err
	}
	// Sockets have short paths only.
	if c.dir, err = os.MkdirTemp("", fmt.Sprintf("shoal%d-", os.Getpid())); err != nil {
		return c, err
	}
	if err := c.addBridge(ctx); err != nil {
		return c, err
	}
	if len(o.Names) > 0 {
		c.hosts = filepath.Join(c.dir, "hosts")
		text := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", registryIP, strings.Join(o.Names, " "))
		if err := os.WriteFile(c.hosts, []byte(text), 0o644); err != nil {
			return c, err
		}
	}
	if c.registry, err = c.addHost(ctx, "reg", registryIP, cmp.Or(o.RegistryRate, o.Rate)); err != nil {
		return c, err
	}
	if c.super, err = c.addHost(ctx, "super", "10.77.0.3", o.Rate); err != nil {
		return c, err
	}
	if err := c.startUpstream(ctx); err != nil {
		return c, err
	}
	if !o.NoSupernode {
		if err := c.StartSupernode(ctx); err != nil {
			return c, err
		}
	}
	if o.Cache {
		if err := c.startCache(ctx); err != nil {
			return c, err
		}
	}
	for k := range o.Nodes + o.Spare {
		rate := o.Rate
		if k < len(o.NodeRates) {
			rate = cmp.Or(o.NodeRates[k], rate)
		}
		h, err := c.addHost(ctx, fmt.Sprintf("n%d", k+1), fmt.Sprintf("10.77.0.%d", 11+k), rate)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, &Node{Name: fmt.Sprintf("node%d", k+1), c: c, host: h, dir: filepath.Join(c.dir, fmt.Sprintf("n%d", k+1))})
	}
	for _, n := range c.Nodes[:o.Nodes] {
		if err := n.Start(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// StartSupernode starts the supernode, again if it has ended.
func (c *Cluster) StartSupernode(ctx context.Context) error {
	args := []string{c.o.Shoal, "supernode", "--listen", Supernode, "--data-dir", filepath.Join(c.dir, "supernode"), "--plain-http", Registry}
	p, err := c.start(c.super, "supernode", append(args, c.o.SupernodeFlags...)...)
	if err != nil {
		return err
	}
	c.Supernode = p
	return c.await(ctx, p, c.super, "http://"+Supernode+"/healthz", nil)
}

// SupernodeMetric is a counter of the supernode, summed over its labels.
func (c *Cluster) SupernodeMetric(ctx context.Context, name string) (float64, error) {
	return metric(ctx, c.super, "http://"+Supernode+"/metrics", name, "")
}

// Dir is where the cluster keeps logs and stores.
func (c *Cluster) Dir() string { return c.dir }

// client speaks HTTP from inside a host.
func (h host) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}, Timeout: 10 * time.Minute}
}

// await waits until a process answers at url, and ready finds its answer good.
func (c *Cluster) await(ctx context.Context, p *Process, h host, url string, ready func(body string) bool) error {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if p.ended() {
			return fmt.Errorf("%s ended at once:\n%s", p.Name, tail(p.Log))
		}
		var body string
		if body, err = get(ctx, h, url); err == nil && (ready == nil || ready(body)) {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready: %w\n%s", p.Name, errors.Join(err, ctx.Err()), tail(p.Log))
}

func tail(file string) string {
	out, _ := exec.Command("tail", "-n", "20", file).CombinedOutput()
	return string(out)
}

func line(text, prefix string) string {
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, prefix) {
			return l
		}
	}
	return ""
}

// Close ends everything that the cluster started, and removes what it left.
func (c *Cluster) Close() error {
	// Its own time: it must also work after Ctrl-C.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs []error
	for _, n := range c.Nodes {
		n.removeContainers(ctx)
	}
	for _, s := range c.servers {
		s.close()
	}
	for i := len(c.processes) - 1; i >= 0; i-- {
		p := c.processes[i]
		p.Thaw()
		if !p.ended() {
			errs = append(errs, p.Terminate())
		}
	}
	if c.dir != "" {
		errs = append(errs, unmount(ctx, c.dir))
	}
	for _, ns := range c.namespaces {
		errs = append(errs, ip(ctx, "netns", "del", ns))
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}
