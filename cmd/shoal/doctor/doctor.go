package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/containerd/install"
)

// Options say what to look at.
type Options struct {
	// Config is the agent's.
	Config *config.Config
	// Version is that of this binary.
	Version string
	// Registries must come through the mirror; none means that some must.
	Registries []string
	// ContainerdConfig is containerd's config.toml; "" means the one that it
	// runs with.
	ContainerdConfig string
	// HostsDirs are folders with hosts.toml files, for who tells ctr or nerdctl
	// of them; none means those of containerd's configuration.
	HostsDirs []string
	// DockerConfig is Docker's daemon.json; at DockerSocket a running one is
	// asked.
	DockerConfig, DockerSocket string
	// Image is pulled as a probe; "" means none.
	Image string
	// Credentials returns user and secret for a registry; nil means anonymous.
	Credentials func(registry string) (user, secret string, err error)
	// Patience is how long one check may take, 0 means 5 s; the probe may take
	// ProbePatience, 0 means 2 min.
	Patience, ProbePatience time.Duration
}

// node is what is known of the node so far.
type node struct {
	Options
	agent     *Process // nil if it does not answer
	supernode *Process
	store     *containerd.Store // nil without a containerd
	daemon    containerd.Description
	reading   *install.Reading
	docker    *dockerd
	// pullsWithContainerd is whether a probe does: not with a containerd that has
	// nothing to do with the agent.
	pullsWithContainerd bool
	clocks              []clock
}

// Names of the checks.
const (
	nameAgent      = "agent"
	nameSupernode  = "supernode"
	nameContainerd = "containerd"
	nameContent    = "content path"
	nameHosts      = "hosts.toml"
	nameLayers     = "unpacked layers"
	nameNamespace  = "namespace"
	nameClock      = "clock"
	namePeers      = "peer port"
	nameDisk       = "disk"
	nameDocker     = "Docker"
	nameProxy      = "Docker's proxy"
	nameProbe      = "probe"

	widest = len(nameLayers)
)

type check struct {
	name  string
	needs []string // checks that must not have failed
	run   func(*node, context.Context) answer
}

var checks = []check{
	{nameAgent, nil, (*node).checkAgent},
	{nameSupernode, nil, (*node).checkSupernode},
	{nameContainerd, nil, (*node).checkContainerd},
	{nameContent, []string{nameContainerd}, (*node).checkContent},
	{nameHosts, []string{nameContainerd}, (*node).checkHosts},
	{nameLayers, []string{nameContainerd}, (*node).checkLayers},
	{nameNamespace, []string{nameContainerd}, (*node).checkNamespace},
	{nameClock, nil, (*node).checkClock},
	{namePeers, []string{nameAgent, nameSupernode}, (*node).checkPeers},
	{nameDisk, nil, (*node).checkDisk},
	{nameDocker, nil, (*node).checkDocker},
	{nameProxy, nil, (*node).checkDockerProxy},
	{nameProbe, []string{nameAgent, nameContainerd, nameContent, nameHosts}, (*node).checkProbe},
}

// Run runs the checks and tells each result as it comes.
func Run(ctx context.Context, o Options, tell func(Result)) []Result {
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.ProbePatience == 0 {
		o.ProbePatience = 2 * time.Minute
	}
	n := &node{Options: o}
	defer n.close()
	var all []Result
	failed := map[string]bool{}
	for _, c := range checks {
		r := n.run(ctx, c, failed)
		failed[c.name] = r.Status == Failure
		all = append(all, r)
		tell(r)
	}
	return all
}

func (n *node) run(ctx context.Context, c check, failed map[string]bool) Result {
	patience := n.Patience
	if c.name == nameProbe {
		patience = n.ProbePatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a := answer{}
	for _, need := range c.needs {
		if failed[need] && (c.name != nameProbe || n.Image != "") {
			a = skip("cannot be told before %q is fine", need)
			break
		}
	}
	if a.status == "" {
		a = c.run(n, ctx)
	}
	return Result{Name: c.name, Status: a.status, Detail: a.detail, Fix: strings.Join(a.fix, "\n")}
}

func (n *node) close() {
	if n.store != nil {
		_ = n.store.Close()
	}
}

// storesInContainerd reports whether the agent's store is that of containerd.
func (n *node) storesInContainerd() bool { return n.Config.StoreKind == "containerd" }

// withoutContainerd is the answer of a check that concerns containerd alone.
func (n *node) withoutContainerd() answer {
	return skip("there is no containerd to look at")
}

func size(n int64) string {
	switch f := float64(n); {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", f/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", f/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", f/(1<<30))
	}
}
