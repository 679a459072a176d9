package supernode

import (
	"context"
	"math/rand/v2"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p"
)

// Config is what a [Supernode] is made of.
type Config struct {
	// Store keeps the blobs that are seeded.
	Store p2p.Store
	// Source makes the way to a blob's upstream from what an agent sent.
	Source func(origin p2p.Origin, dgst digest.Digest) p2p.Source
	// Metrics counts; nil counts into nothing.
	Metrics *metrics.Set
	// Memory is the piece memory in bytes; 0 means p2p.DefaultMemory.
	Memory int64
}

// Supernode is the tracker and the seed of a cluster.
type Supernode struct{ node *p2p.Node }

// New makes a supernode. It works once Run has been called.
func New(cfg Config) (*Supernode, error) {
	node, err := p2p.NewNode(p2p.Config{
		Store: cfg.Store, Metrics: cfg.Metrics, Memory: cfg.Memory,
		Seed:      true,
		Tracker:   newTracker(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		SourceFor: cfg.Source,
	})
	if err != nil {
		return nil, err
	}
	return &Supernode{node: node}, nil
}

// Node is the seed, which can serve a mirror in the same process.
func (s *Supernode) Node() *p2p.Node { return s.node }

// Handler serves the agents: their streams, and pieces. Its server must speak
// HTTP/1.1 and cleartext HTTP/2.
func (s *Supernode) Handler() http.Handler { return s.node.Handler() }

// Run works until ctx ends, then lets go of everything and returns nil.
func (s *Supernode) Run(ctx context.Context) error { return s.node.Run(ctx) }
