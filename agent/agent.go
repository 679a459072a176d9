package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-p2p/shoal/files"
	"github.com/shoal-p2p/shoal/internal/admin"
	"github.com/shoal-p2p/shoal/internal/daemon"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/resolver"
)

// Agent is a node's agent; see [New].
type Agent struct {
	cfg        Config
	collectors []prometheus.Collector
	resolver   *resolver.Resolver
	node       *p2p.Node
	receiver   Receiver // nil unless the store is filled by one
	guard      *proxy.Guard
	files      *files.Files
	proxy      *proxy.Proxy // in front of the mirror
	admin      *http.ServeMux

	ran   atomic.Bool
	ready chan struct{} // closed once it serves
	ended chan struct{} // closed when Run's context ends, or Run fails
}

// New makes an agent. It opens nothing and starts nothing: it works while Run
// does.
func New(cfg Config) (*Agent, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	set := metrics.New()
	a := &Agent{cfg: cfg, collectors: []prometheus.Collector{set}, admin: http.NewServeMux(), ready: make(chan struct{}), ended: make(chan struct{})}
	if cfg.Metrics == nil {
		a.cfg.Metrics = prometheus.NewRegistry()
		a.collectors = append(a.collectors, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	var err error
	a.guard = proxy.NewGuard(cfg.Proxy.AllowTo)
	if a.resolver, err = resolver.New(resolver.Config{
		Registries: cfg.Registries, Patterns: slices.Concat(cfg.Trust, cfg.Proxy.Intercept.Hosts), Control: a.guard.Control,
		UserAgent: "shoal/" + version.This().Version,
	}); err != nil {
		return nil, err
	}
	if a.node, err = p2p.NewNode(p2p.Config{
		Store: cfg.Store, Metrics: set, Memory: cfg.Memory,
		Supernode: cfg.supernode(), Advertise: cfg.Advertise, Labels: cfg.Labels,
		UploadRate: cfg.UploadRate, DownloadRate: cfg.DownloadRate,
	}); err != nil {
		return nil, err
	}
	front := mirror.Config{
		DefaultRegistry: cfg.DefaultRegistry, Node: a.node, Resolver: a.resolver,
		Manifests: cfg.manifests(), StaleFor: cfg.StaleFor, Metrics: set,
	}
	if a.receiver = cfg.receiver(a.node, set.IngestBytes); a.receiver != nil {
		front.Receiver = a.receiver
	}
	cfg.Proxy.Guard = a.guard
	if a.files, err = files.New(files.Config{Node: a.node, Resolver: a.resolver, Metrics: set, StaleFor: cfg.StaleFor, Dir: files.DirIn(cfg.DataDir)}); err != nil {
		return nil, err
	}
	cfg.Proxy.Files = a.files.With
	if cfg.Proxy.Mirror, err = mirror.New(front); err != nil {
		return nil, err
	}
	if a.proxy, err = proxy.New(cfg.Proxy); err != nil {
		return nil, err
	}
	gatherer, _ := a.cfg.Metrics.(prometheus.Gatherer)
	admin.Add(a.admin, admin.Config{
		Metrics: gatherer, Status: func() any { return a.Status() }, Ready: a.serves, Pprof: cfg.Pprof,
	})
	return a, nil
}

// Mirror is the registry mirror, for a server of your own: it answers /v2/… and
// /<registry>/v2/…, and is the forward proxy for what comes with an absolute URI
// or CONNECT. Give it no write timeout: a large blob takes its time.
func (a *Agent) Mirror() http.Handler { return a.proxy }

// Files answers requests with absolute URLs, of whoever asks in this process: what
// it gets comes through the swarm. See package files.
func (a *Agent) Files() http.Handler { return a.files }

// Peers answers other nodes, below /v1/, for a server of your own. That must
// speak HTTP/1.1, have [p2p.ConnContext] as its ConnContext, and no timeout on
// reading or writing: streams between nodes stay open.
func (a *Agent) Peers() http.Handler { return a.node.Handler() }

// Admin answers operators, for a server of your own: /metrics, /healthz,
// /readyz, /api/v1/status, and /debug/pprof/ if that is on.
func (a *Agent) Admin() http.Handler { return a.admin }

// Ready is closed once all addresses are bound and the agent serves. It stays
// open if Run fails before that.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends, lets the running requests of clients finish, and
// returns nil. It returns an error if it cannot serve. An agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("agent: it has run already: make another one")
	}
	defer a.resolver.Close()
	unregister, err := a.register()
	if err != nil {
		return err
	}
	defer unregister()
	a.warn(ctx)
	end := sync.OnceFunc(func() { close(a.ended) })
	defer end()
	defer context.AfterFunc(ctx, end)()
	return daemon.Run(ctx, daemon.Config{
		Servers: a.servers(), Run: a.work, Drain: a.drain, Grace: a.cfg.Grace,
		Ready: func(bound []net.Addr) {
			a.guard.Own(bound...)
			close(a.ready)
		},
	})
}

func (a *Agent) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.proxy.Run(ctx) })
	group.Go(func() error { return a.node.Run(ctx) })
	if a.receiver != nil {
		group.Go(func() error { return a.receiver.Run(ctx) })
	}
	return group.Wait()
}

func (a *Agent) drain(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return a.proxy.Drain(ctx) })
	if a.receiver != nil {
		group.Go(func() error { return a.receiver.Drain(ctx) })
	}
	return group.Wait()
}

// serves is whether new clients are welcome.
func (a *Agent) serves() bool {
	select {
	case <-a.ended:
		return false
	default:
	}
	select {
	case <-a.ready:
		return true
	default:
		return false
	}
}

func (a *Agent) servers() (servers []daemon.Server) {
	for _, s := range []struct {
		daemon.Server
		at Listen
	}{
		{daemon.Server{Name: "mirror", Key: "mirror.listen", Handler: a.proxy, Clients: true}, a.cfg.Mirror},
		{daemon.Server{Name: "admin", Key: "admin.listen", Handler: a.admin}, a.cfg.Admin},
		{daemon.Server{Name: "peer port", Key: "peer.listen", Handler: a.Peers(), ConnContext: p2p.ConnContext}, a.cfg.Peers},
	} {
		if !s.at.nowhere() {
			s.Addr, s.Listener = s.at.Addr, s.at.Listener
			servers = append(servers, s.Server)
		}
	}
	return servers
}

// register registers the metrics. The returned function takes that back.
func (a *Agent) register() (func(), error) {
	var done []prometheus.Collector
	unregister := func() {
		for _, c := range done {
			a.cfg.Metrics.Unregister(c)
		}
	}
	for _, c := range a.collectors {
		if err := a.cfg.Metrics.Register(c); err != nil {
			unregister()
			return nil, fmt.Errorf("agent: its metrics cannot be registered: %w; if another agent of this process has that registry, see prometheus.WrapRegistererWith", err)
		}
		done = append(done, c)
	}
	return unregister, nil
}

// warn says what is not protected.
func (a *Agent) warn(ctx context.Context) {
	daemon.WarnIfOpen(ctx, "mirror.listen", a.cfg.Mirror.String())
	daemon.WarnIfOpen(ctx, "admin.listen", a.cfg.Admin.String())
	a.resolver.Warn(ctx)
	if a.cfg.supernode() == "" {
		log.G(ctx).Warn("no supernode is configured: every blob comes from its upstream")
	} else {
		log.G(ctx).Warn("peers are not authenticated: run the swarm in a network that you trust")
	}
}
