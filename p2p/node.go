package p2p

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/picker"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/p2p/wire"
)

const (
	// openTimeout bounds what is asked of the store on a neighbour's behalf.
	openTimeout   = 10 * time.Second
	maxActivating = 256
	// tick is how often the node looks at who has fallen silent, how fast
	// its link is, and which blobs nobody uses.
	tick = 100 * time.Millisecond
	// idleAfter is when a blob that nobody trades is put away, removedAfter one
	// that the store has lost, failedAfter when a wrong one may be tried again, abandonedAfter when a fill ends
	// that no client holds and no store keeps.
	idleAfter      = time.Minute
	removedAfter   = 5 * time.Second
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

	ctx    context.Context // ends with Run; see life
	cancel context.CancelFunc
	logger atomic.Pointer[log.Entry] // of Run's context; nil before Run
	wg     sync.WaitGroup            // all goroutines of the node

	streams *http.Client // to other nodes
	pieces  *http.Client // from other nodes
	handler http.Handler

	uploads, downloads limiter
	bytes              tally
	uploaded           atomic.Int64 // piece bytes sent to other nodes
	downloaded         atomic.Int64 // piece bytes received from other nodes

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
	fed        time.Time // when a peer last sent a piece
	pace       pace

	// Sums of pieces that a seed remembers.
	proofs     map[digest.Digest][]piece.Sum
	proofOrder []digest.Digest
	proofCount int

	holdings holdings      // guarded by mu
	scanDue  chan struct{} // the store may hold something else than was announced
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
		proofs:     map[digest.Digest][]piece.Sum{},
		pace:       pace{slots: picker.MinSlots},
		holdings:   newHoldings(),
		scanDue:    make(chan struct{}, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.StreamPath, n.serveStream)
	mux.HandleFunc("GET /v1/pieces/{blob}/{index}", n.servePiece)
	n.handler = mux
	return n, nil
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
// HTTP/1.1.
func (n *Node) Handler() http.Handler { return n.handler }

// life is the node's own context, which ends with Run.
func (n *Node) life() context.Context { return log.WithLogger(n.ctx, n.log()) }

func (n *Node) log() *log.Entry {
	if l := n.logger.Load(); l != nil {
		return l
	}
	return log.L
}

// Run keeps the node in its swarms until ctx ends. Then it lets go of
// everything, keeps what the store has of unfinished blobs, and returns nil. It
// logs where log.G(ctx) does.
func (n *Node) Run(ctx context.Context) error {
	n.logger.Store(log.G(ctx))
	n.mu.Lock()
	if n.cfg.Supernode != "" {
		n.spawn(func() { n.follow(n.life()) })
		n.spawn(func() { n.announceStore(n.life()) })
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
