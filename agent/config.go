package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/proxy"
	"github.com/shoal-p2p/shoal/resolver"
)

// Addresses at which `shoal agent` serves.
const (
	DefaultMirror = "127.0.0.1:65001"
	DefaultPeers  = ":65002"
	DefaultAdmin  = "127.0.0.1:65003"
)

// Config is what an [Agent] is made of. Nothing but Store is required.
type Config struct {
	// Store holds the blobs. It may be a [ManifestKeeper], [Filled] and
	// [Described], a [p2p.Watcher] and a [p2p.Pinner], too.
	Store p2p.Store

	// DataDir is where the agent keeps what it knows beside the store: what the
	// sources of files have said of them. "" keeps none of it.
	DataDir string

	// Supernodes are the host:port of the supernodes, of which there is at most
	// one at present; without one, every blob comes from its upstream.
	Supernodes []string

	// Mirror, Peers and Admin are where clients of this machine, other nodes
	// and operators are served. The zero Listen serves nowhere: then see
	// [Agent.Mirror], [Agent.Peers] and [Agent.Admin].
	Mirror, Peers, Admin Listen

	// Advertise is the host:port at which other nodes reach the peer port. A host
	// that is empty or unspecified is filled in by the supernode with the address
	// that it sees; "" means the address of Peers, and none if Peers is nowhere:
	// then no node can connect here.
	Advertise string
	// Labels describe the node's place, e.g. zone and rack: near nodes meet
	// first.
	Labels map[string]string
	// UploadRate and DownloadRate bound the bytes per second exchanged with
	// other nodes; 0 means no bound.
	UploadRate, DownloadRate int64
	// Memory is how many bytes of pieces are held in memory at most; 0 means
	// p2p.DefaultMemory.
	Memory int64

	// Registries are the upstreams that need more than HTTPS and the client's
	// own credentials.
	Registries []resolver.Registry
	// Trust says how other servers are trusted, before what Proxy.Intercept says of
	// its hosts; the first that matches counts.
	Trust []resolver.Pattern
	// DefaultRegistry is asked where a request names none; "" means Docker Hub.
	DefaultRegistry string
	// Proxy says what the forward proxy does, which answers where the mirror
	// does. Its Mirror and Guard are the agent's.
	Proxy proxy.Config
	// StaleFor is how long a tag may be served as it last was while its
	// upstream cannot be reached; 0 means a day.
	StaleFor time.Duration

	// Metrics is where the agent registers its metrics while it runs. nil means
	// a registry of its own, with those of Go and the process. Agents that share
	// one each need prometheus.WrapRegistererWith with a label of their own. The admin handler serves
	// them if it is a prometheus.Gatherer, too.
	Metrics prometheus.Registerer
	// Pprof makes the admin handler serve /debug/pprof/.
	Pprof bool
	// Grace is how long running requests of clients may take to finish once
	// Run's context has ended; 0 means 10 s, and less than 0 no time.
	Grace time.Duration
}

// Listen is where something is served: at an address that Run binds, or on a
// listener, which Run closes. The zero value is nowhere.
type Listen struct {
	Addr     string // host:port
	Listener net.Listener
}

func (l Listen) String() string {
	if l.Listener != nil {
		return l.Listener.Addr().String()
	}
	return l.Addr
}

func (l Listen) nowhere() bool { return l.Listener == nil && l.Addr == "" }

// ManifestKeeper is a store that keeps manifests, too. Without it they are in
// memory alone.
type ManifestKeeper interface {
	Manifests() mirror.ManifestStore
}

// Filled is a store that can be filled before a client of the mirror asks.
type Filled interface {
	// Receiver returns what fills it, with blobs of the node, and counts the
	// bytes; nil if nothing does.
	Receiver(node *p2p.Node, bytes prometheus.Counter) Receiver
}

// Receiver fills a store.
type Receiver interface {
	mirror.Receiver
	// Run works until its context ends, and lets go of everything then.
	Run(ctx context.Context) error
	// Drain waits for what is under way, until its context ends at the latest.
	Drain(ctx context.Context) error
}

// Described is a store that says in the status API what it is.
type Described interface {
	Info() StoreInfo
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("agent: config has no store: take one of plugin/local or plugin/containerd")
	case len(c.Supernodes) > 1:
		return fmt.Errorf("agent: config has %d supernodes: one is supported", len(c.Supernodes))
	}
	if c.Advertise == "" {
		switch _, port, err := net.SplitHostPort(c.Peers.String()); {
		case err == nil && port == "0":
			return errors.New("agent: config has any port for other nodes, and tells them none: give Peers a listener that is bound")
		case err == nil:
			c.Advertise = c.Peers.String()
		}
	}
	switch {
	case c.Grace == 0:
		c.Grace = 10 * time.Second
	case c.Grace < 0:
		c.Grace = 0
	}
	return nil
}

func (c *Config) supernode() string {
	if len(c.Supernodes) == 0 {
		return ""
	}
	return c.Supernodes[0]
}

func (c *Config) receiver(node *p2p.Node, bytes prometheus.Counter) Receiver {
	if f, ok := c.Store.(Filled); ok {
		return f.Receiver(node, bytes)
	}
	return nil
}

func (c *Config) manifests() mirror.ManifestStore {
	if k, ok := c.Store.(ManifestKeeper); ok {
		return k.Manifests()
	}
	return nil
}
