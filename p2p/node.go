package p2p

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/wire"
	"github.com/shoal-p2p/shoal/p2p/wire/wireconnect"
)

const (
	// openTimeout bounds what is asked of the store on a neighbour's behalf.
	openTimeout   = 10 * time.Second
	maxActivating = 256
	// tick is how often the node looks at who has fallen silent, how fast
	// its link is, and which blobs nobody uses.
	tick = 100 * time.Millisecond
	// idleAfter is when a blob that nobody trades is put away, failedAfter
	// when a wrong one may be tried again, abandonedAfter when a fill ends
	// that no client holds and no store keeps.
	idleAfter      = time.Minute
	failedAfter    = 5 * time.Second
	abandonedAfter = 10 * time.Second
	// starvedFor is how long a client waits for a piece from the swarm before
	// the node goes to the upstream itself.
	starvedFor = 15 * time.Second
)

// Node is one node in its swarms.
type Node struct {
	cfg Config
	mem *memory

	ctx    context.Context // ends with Run
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines of the node

	streams *http.Client // to other nodes, HTTP/2
	pieces  *http.Client // from other nodes, HTTP/1.1
	handler http.Handler

	uploads, downloads limiter
	bytes              tally
	uploaded           atomic.Int64
	moved              atomic.Int64 // bytes exchanged with other nodes

	mu         sync.Mutex
	stopped    bool
	rand       *rand.Rand
	picker     *picker.State
	tasks      map[string]*task
	fills      int // tasks that are filling
	neighbours map[string]*neighbour
	dialling   map[string]bool
	activating map[string]bool
	banned     map[string]time.Time
	offered    map[picker.Offer]*offered
	super      *neighbour // nil while there is none
	superLost  time.Time
	pace       pace

	// Digests of pieces that a seed remembers.
	proofs     map[digest.Digest][][32]byte
	proofOrder []digest.Digest
	proofCount int
}

// NewNode makes a node. It works once Run has been called.
func NewNode(cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	n := &Node{
		cfg: cfg, mem: newMemory(cfg.Memory), ctx: ctx, cancel: cancel,
		streams:    &http.Client{Transport: streamTransport()},
		pieces:     &http.Client{Transport: pieceTransport()},
		uploads:    newLimiter(cfg.UploadRate),
		downloads:  newLimiter(cfg.DownloadRate),
		rand:       random,
		picker:     picker.New(cfg.Seed, random),
		tasks:      map[string]*task{},
		neighbours: map[string]*neighbour{},
		dialling:   map[string]bool{},
		activating: map[string]bool{},
		banned:     map[string]time.Time{},
		offered:    map[picker.Offer]*offered{},
		superLost:  time.Now(),
		proofs:     map[digest.Digest][][32]byte{},
	}
	path, swarm := wireconnect.NewSwarmHandler(exchange{n}, connect.WithReadMaxBytes(wire.MaxFrame))
	mux := http.NewServeMux()
	mux.Handle(path, withController(swarm))
	mux.HandleFunc("GET /v1/pieces/{blob}/{index}", n.servePiece)
	n.handler = mux
	return n, nil
}

func streamTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:   protocols,
		DialContext: (&net.Dialer{Timeout: helloTimeout}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: goneAfter, PingTimeout: goneAfter},
	}
}

func pieceTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   picker.MaxSlots,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: slowest,
		ReadBufferSize:        64 << 10,
	}
}

// Handler serves the peer port: pieces and peer control. Its server must speak
// HTTP/1.1 and cleartext HTTP/2.
func (n *Node) Handler() http.Handler { return n.handler }

// Run keeps the node in its swarms until ctx ends. Then it lets go of
// everything, keeps what the store has of unfinished blobs, and returns nil.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	if n.cfg.Supernode != "" {
		n.spawn(func() { n.follow(n.ctx) })
	}
	n.mu.Unlock()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			n.look(now)
			continue
		case <-ctx.Done():
		}
		break
	}
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.cancel()
	n.wg.Wait()
	n.streams.CloseIdleConnections()
	n.pieces.CloseIdleConnections()
	return nil
}

// Stat returns the size of a blob that the store holds whole, or that a fill
// knows.
func (n *Node) Stat(ctx context.Context, dgst digest.Digest) (size int64, ok bool) {
	n.mu.Lock()
	if t := n.tasks[dgst.String()]; t != nil && t.known && t.err == nil {
		n.mu.Unlock()
		return t.layout.Size, true
	}
	n.mu.Unlock()
	b, err := n.cfg.Store.Open(ctx, dgst)
	if err != nil {
		return 0, false
	}
	defer b.Close()
	return b.Size(), true
}

// Open returns the blob: from the store if it holds it, else from the node's
// one fill for that digest, which is joined or started with src as a way to the
// upstream. It returns when the size is known. Errors are *oci.Error where a
// registry or the swarm said no. The caller closes the content.
func (n *Node) Open(ctx context.Context, dgst digest.Digest, src Source) (*Content, error) {
	b, err := n.cfg.Store.Open(ctx, dgst)
	if err == nil {
		return &Content{n: n, size: b.Size(), blob: b}, nil
	}
	if !errdefs.IsNotFound(err) {
		return nil, oci.Errorf(oci.SideStore, http.StatusInternalServerError, oci.CodeUnavailable, "blob %s: %v", dgst, err)
	}
	n.mu.Lock()
	t, err := n.fill(dgst, src)
	if err != nil {
		n.mu.Unlock()
		return nil, err
	}
	c := &Content{n: n, task: t}
	t.contents[c] = struct{}{}
	t.used = time.Now()
	t.notify()
	n.mu.Unlock()
	if err := c.await(ctx, func() bool { return t.known }); err != nil {
		_ = c.Close()
		return nil, err
	}
	c.size = t.layout.Size
	return c, nil
}

// obtain returns the task for a blob out of the store, or its fill.
func (n *Node) obtain(ctx context.Context, dgst digest.Digest, src Source) (*task, error) {
	n.mu.Lock()
	if t := n.tasks[dgst.String()]; t != nil && t.err == nil {
		t.addSource(src)
		n.mu.Unlock()
		return t, nil
	}
	n.mu.Unlock()
	b, err := n.cfg.Store.Open(ctx, dgst)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch t := n.tasks[dgst.String()]; {
	case err != nil && !errdefs.IsNotFound(err):
		return nil, err
	case err != nil:
		return n.fill(dgst, src)
	case t != nil && t.err == nil || n.stopped:
		_ = b.Close()
		return n.fill(dgst, src)
	}
	return n.serve(dgst, b), nil
}

// fill joins or starts the fill of a blob. Callers hold n.mu.
func (n *Node) fill(dgst digest.Digest, src Source) (*task, error) {
	if n.stopped {
		return nil, oci.Errorf(oci.SideStore, http.StatusServiceUnavailable, oci.CodeUnavailable, "the node is stopping")
	}
	if t := n.tasks[dgst.String()]; t != nil {
		if t.err == nil {
			t.addSource(src)
			return t, nil
		}
		// Wrong bytes stay wrong for a while; anything else is tried afresh.
		if e := asOCI(t.err); e != nil && e.Code == oci.CodeDigestInvalid && time.Since(t.ended) < failedAfter {
			return nil, t.err
		}
	}
	t := n.newTask(dgst)
	t.addSource(src)
	n.fills++
	n.start(t)
	n.join(t)
	return t, nil
}

func (n *Node) newTask(dgst digest.Digest) *task {
	ctx, cancel := context.WithCancel(n.ctx)
	now := time.Now()
	t := &task{
		n: n, dgst: dgst, id: dgst.String(), ctx: ctx, cancel: cancel,
		bufs: map[int]*buffer{}, contents: map[*Content]struct{}{}, peers: map[string]string{},
		awaiting: map[*neighbour]struct{}{}, changed: make(chan struct{}),
		used: now, started: now, progress: now,
	}
	n.tasks[t.id] = t
	return t
}

func (n *Node) start(t *task) { n.spawn(t.run) }

// spawn runs f in a goroutine that Run waits for. It reports whether the node
// still starts any. Callers hold n.mu.
func (n *Node) spawn(f func()) bool {
	if !n.stopped {
		n.wg.Go(f)
	}
	return !n.stopped
}

// maxSources bounds the credentials kept for one blob.
const maxSources = 8

// addSource adds a way to the upstream, the newest last.
func (t *task) addSource(src Source) {
	if src == nil {
		return
	}
	o := src.Origin()
	kept := t.sources[:0:0]
	for _, s := range t.sources {
		if s.Origin() != o {
			kept = append(kept, s)
		}
	}
	t.sources = append(kept, src)
	if len(t.sources) > maxSources {
		t.sources = t.sources[1:]
	}
}

// takeMemory returns memory for a piece, if need be at the expense of pieces
// that the store has or nobody waits for. Callers hold n.mu.
func (n *Node) takeMemory(size int64, urgent bool) *buffer {
	b := n.mem.take(size, urgent)
	if b != nil {
		return b
	}
	enough := func() bool {
		if b == nil {
			b = n.mem.take(size, urgent)
		}
		return b != nil
	}
	for _, t := range n.tasks {
		if t.known {
			t.forget(enough)
		}
		if enough() {
			break
		}
	}
	return b
}

// look is what the node does now and then.
func (n *Node) look(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peers := 0
	for _, nb := range n.neighbours {
		silent := now.Sub(nb.heard)
		n.picker.SetQuiet(nb.id, silent > quietAfter)
		if silent > goneAfter {
			nb.stop()
		}
		if !nb.seed {
			peers++
		}
	}
	for id, until := range n.banned {
		if now.After(until) {
			delete(n.banned, id)
		}
	}
	for _, t := range n.tasks {
		n.tidy(t, now)
	}
	n.adapt(now)
	n.cfg.Metrics.Peers.Set(float64(peers))
	n.cfg.Metrics.Tasks.Set(float64(len(n.tasks)))
}

// tidy ends a task that is of no more use. Callers hold n.mu.
func (n *Node) tidy(t *task, now time.Time) {
	unused := now.Sub(t.used)
	if len(t.contents) > 0 {
		unused = 0
	}
	switch {
	case t.err != nil:
		if now.Sub(t.ended) > failedAfter {
			n.end(t)
		}
	case t.whole && !t.filling():
		if unused > idleAfter {
			n.end(t)
		}
	case !n.cfg.Store.Writes() && unused > abandonedAfter:
		n.end(t)
	case t.starved():
		n.snapshotDue(t.id)
		if n.cfg.Supernode != "" && len(t.contents) > 0 && now.Sub(t.progress) > starvedFor {
			t.superFailed = true
			t.notify()
		}
	}
}

// end puts a task away. Callers hold n.mu.
func (n *Node) end(t *task) {
	if t.err == nil && !t.whole {
		n.fills--
	}
	n.remember(t)
	n.leave(t)
	n.picker.RemoveBlob(t.id)
	if n.tasks[t.id] == t {
		delete(n.tasks, t.id)
	}
	t.notify()
	t.cancel()
}

func asOCI(err error) *oci.Error {
	var e *oci.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

func (n *Node) countUpload(bytes int64) {
	n.uploaded.Add(bytes)
	n.moved.Add(bytes)
	if n.cfg.Seed {
		n.cfg.Metrics.SeedBytes.Add(float64(bytes))
	} else {
		n.cfg.Metrics.UploadBytes.Add(float64(bytes))
	}
}

// count adds to the bytes received from a source.
func (n *Node) count(source string, bytes int) {
	n.cfg.Metrics.BlobBytes.WithLabelValues(source).Add(float64(bytes))
	n.bytes.add(source, int64(bytes))
	switch source {
	case metrics.SourceUpstream:
		n.cfg.Metrics.UpstreamBytes.Add(float64(bytes))
	case metrics.SourcePeer, metrics.SourceSupernode:
		n.moved.Add(int64(bytes))
	}
}
