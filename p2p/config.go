package p2p

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/metrics"
)

// DefaultMemory is the piece memory of a node whose [Config] names none.
const DefaultMemory = 64 << 20

// Config is what a [Node] is made of.
type Config struct {
	// ID tells the node from all others; a restarted node is another one.
	// "" picks a random one.
	ID string
	// Store is where blobs are kept and pieces are read back from.
	Store Store
	// Metrics counts; nil counts into nothing.
	Metrics *metrics.Set
	// Memory is how many bytes of pieces are held in memory at most, all
	// blobs together; 0 means DefaultMemory.
	Memory int64

	// Supernode is the host:port of the supernode; "" means none, and every
	// blob comes from its upstream.
	Supernode string
	// Advertise is the host:port at which peers reach Handler. An empty host
	// is filled in by the supernode with the address that it sees; "" means
	// that no peer can connect here.
	Advertise string
	// Labels describe the node's place, e.g. zone and rack.
	Labels map[string]string

	// UploadRate and DownloadRate bound the bytes per second exchanged with
	// other nodes, all together; 0 means no bound.
	UploadRate, DownloadRate int64

	// Seed makes the node the one that its swarms trust: it reads blobs from
	// the upstream, names the digests of their pieces, and never asks a peer.
	Seed bool
	// Tracker and SourceFor make a seed a supernode: who meets whom, and the
	// way to a blob's upstream from what an agent sent. Only a seed has them.
	Tracker   Tracker
	SourceFor func(origin Origin, dgst digest.Digest) Source
}

func (c *Config) validate() error {
	if c.Store == nil {
		return errors.New("p2p: config has no store")
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.Memory < MinMemory {
		return fmt.Errorf("p2p: memory.pieces is %d bytes: at least %d are needed", c.Memory, MinMemory)
	}
	if c.UploadRate < 0 || c.DownloadRate < 0 {
		return errors.New("p2p: a rate is negative")
	}
	if c.Seed && c.Supernode != "" {
		return errors.New("p2p: a seed has no supernode")
	}
	if c.Seed != (c.Tracker != nil) || c.Seed != (c.SourceFor != nil) {
		return errors.New("p2p: a seed needs a tracker and sources, and only a seed")
	}
	if c.ID == "" {
		c.ID = fmt.Sprintf("%016x", rand.Uint64())
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	return nil
}
