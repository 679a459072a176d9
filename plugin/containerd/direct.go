package containerd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/log"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// lockWithin is how long a manifest is kept back from containerd at most,
	// for the references of its layers to be locked.
	lockWithin = 200 * time.Millisecond
	// fillsAtOnce is how many layers of a pull are received at the same time.
	fillsAtOnce = 3
	// pullsAtOnce bounds what containerd can make this process do.
	pullsAtOnce = 16
	// knownManifests bounds the manifests whose platform is remembered.
	knownManifests = 4096
)

// Direct receives layers for a containerd that pulls, in its place: it holds the
// writers of the layers that are missing, under the references that containerd
// itself will ask for. containerd waits for them, and finds the layers there. If
// a layer does not come, its writer is let go, and containerd goes on from there
// through the mirror.
type Direct struct {
	s     *Store
	node  *p2p.Node
	bytes prometheus.Counter // that containerd took
	id    string             // of this run, in the names of its leases

	// How often is looked whether a pull goes on, how long a lease outlives the
	// last layer, and how long nothing may come of one.
	watchEvery, lingerMin, lingerMax, stalledAfter time.Duration

	ctx    context.Context // ends with Run
	cancel context.CancelFunc
	wg     sync.WaitGroup // pulls

	others *lru.Cache[digest.Digest, struct{}] // manifests of other platforms

	mu      sync.Mutex
	stopped bool
	count   int // of pulls so far
	pulls   map[digest.Digest]*pull
	warned  bool
}

// newDirect makes a Direct that takes its blobs from node, and counts what it
// writes. It works while Run does.
func newDirect(s *Store, node *p2p.Node, bytes prometheus.Counter) *Direct {
	others, err := lru.New[digest.Digest, struct{}](knownManifests)
	if err != nil { // only a size that is not positive
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Direct{
		s: s, node: node, bytes: bytes, id: fmt.Sprintf("%08x", rand.Uint32()), ctx: ctx, cancel: cancel,
		watchEvery: watchEvery, lingerMin: lingerMin, lingerMax: lingerMax, stalledAfter: stalledAfter,
		others: others, pulls: map[digest.Digest]*pull{},
	}
}

// Run takes back what former runs left in containerd, and lets go of everything
// when ctx ends. It returns nil.
func (d *Direct) Run(ctx context.Context) error {
	d.mu.Lock()
	d.wg.Go(d.dropFormerLeases)
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	d.cancel()
	d.wg.Wait()
	return nil
}

// Drain waits for the layers that are being received, at most until ctx ends.
// None are begun from here on.
func (d *Direct) Drain(ctx context.Context) error {
	d.mu.Lock()
	d.stopped = true
	var running []*pull
	for _, p := range d.pulls {
		running = append(running, p)
	}
	d.mu.Unlock()
	for _, p := range running {
		select {
		case <-p.filled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Receive looks at a manifest or an index that a containerd on this machine will
// get, and begins to receive the layers that it will need. It returns when their
// references are locked, or soon.
func (d *Direct) Receive(ctx context.Context, mediaType string, dgst digest.Digest, body []byte, source func(digest.Digest) p2p.Source) {
	if images.IsIndexType(mediaType) {
		for _, other := range otherPlatforms(body) {
			d.others.Add(other, struct{}{})
		}
		return
	}
	if !images.IsManifestType(mediaType) || d.others.Contains(dgst) {
		return
	}
	layers := d.missing(layersOf(body))
	if len(layers) == 0 {
		return
	}
	p := d.begin(dgst, layers, source)
	if p == nil {
		return
	}
	timer := time.NewTimer(lockWithin)
	defer timer.Stop()
	select {
	case <-p.locked:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// begin begins a pull; nil if there is one of the same manifest, or no room.
func (d *Direct) begin(manifest digest.Digest, layers []*layer, source func(digest.Digest) p2p.Source) *pull {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped || len(d.pulls) >= pullsAtOnce || d.pulls[manifest] != nil {
		return nil
	}
	d.count++
	p := &pull{
		d: d, manifest: manifest, layers: layers, source: source, lease: fmt.Sprintf("%s%s/%d", leasePrefix, d.id, d.count),
		locked: make(chan struct{}), filled: make(chan struct{}), over: make(chan struct{}),
	}
	d.pulls[manifest] = p
	d.wg.Go(func() {
		p.run(d.ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.pulls, manifest)
	})
	return p
}

// missing leaves out the layers whose files are there. Of others, opening the
// writer tells.
func (d *Direct) missing(layers []*layer) []*layer {
	return slices.DeleteFunc(layers, func(l *layer) bool { return d.s.holds(l.desc.Digest) })
}

// warnOld says once what direct costs in containerd 1.x: a writer that waits for
// a reference does so in a transaction, and keeps all others out.
func (d *Direct) warnOld(ctx context.Context) {
	d.mu.Lock()
	warned := d.warned
	d.warned = true
	d.mu.Unlock()
	if warned || d.s.client.Conn() == nil { // inside containerd, which is 2.x then
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if v, err := d.s.client.Version(ctx); err == nil && oldVersion(v.Version) {
		log.G(ctx).WithField("version", v.Version).
			Warn("store: containerd 1.x keeps all changes to its metadata waiting while it waits for a layer: set containerd.ingest to stream")
	}
}
