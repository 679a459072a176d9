package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// Defaults of [Config].
const (
	DefaultAddress   = "/run/containerd/containerd.sock"
	DefaultNamespace = "default" // the kubelet's is k8s.io
)

// nowhere is a content path that cannot be read.
const nowhere = os.DevNull

// Config is what a [Store] is made of.
type Config struct {
	// Address is containerd's socket; "" means DefaultAddress.
	Address string
	// Client is what speaks to containerd, instead of one that connects to
	// Address: for who has one already, or is inside containerd and has it
	// without a connection. It stays its owner's to close; nil means that the
	// store makes one.
	Client *client.Client
	// Namespace is where images are pulled to, and where blobs are looked
	// for first; "" means DefaultNamespace.
	Namespace string
	// ContentPath is the directory of containerd's content store as this
	// process sees it. If it is "" or cannot be read, all goes over the
	// socket.
	ContentPath string
	// Direct makes the agent write layers into containerd while containerd
	// waits for them; see [Direct]. Else containerd reads them from the mirror.
	Direct bool
}

// Store is a running containerd's content store.
type Store struct {
	cfg    Config
	client *client.Client
	now    func() time.Time

	growing growing
	pins    *pins

	noPath, otherPath sync.Once // have been logged

	mu      sync.Mutex
	ingests map[digest.Digest]struct{}
}

// New makes the store. It does not need containerd to be there yet. Close must
// be called.
func New(cfg Config) (*Store, error) {
	if cfg.Address == "" {
		cfg.Address = DefaultAddress
	}
	if cfg.Namespace == "" {
		cfg.Namespace = DefaultNamespace
	}
	c := cfg.Client
	if c == nil {
		var err error
		c, err = client.New(cfg.Address, client.WithTimeout(dialTimeout), client.WithExtraDialOpts([]grpc.DialOption{
			grpc.WithContextDialer(dial),
		}))
		if err != nil {
			return nil, fmt.Errorf("store containerd at %s: %w; check containerd.address", cfg.Address, err)
		}
	}
	s := &Store{cfg: cfg, client: c, now: time.Now, ingests: map[digest.Digest]struct{}{}}
	if cfg.ContentPath == "" {
		s.cfg.ContentPath = nowhere
		s.noPath.Do(func() {}) // as it was asked for
	}
	s.growing.root = s.cfg.ContentPath
	s.pins = newPins(s)
	return s, nil
}

// Close ends the connection, if it is the store's own. Blobs that are read over
// it end with it.
func (s *Store) Close() error {
	if s.cfg.Client != nil {
		return nil
	}
	return s.client.Close()
}

// Info says which store this is.
func (s *Store) Info() agent.StoreInfo {
	info := agent.StoreInfo{Kind: "containerd", Address: s.cfg.Address, Namespace: s.cfg.Namespace, ContentPath: s.cfg.ContentPath}
	if info.ContentPath == nowhere {
		info.ContentPath = ""
	}
	return info
}

// Receiver is a [Direct], if the store was made for it, and else nil.
func (s *Store) Receiver(node *p2p.Node, bytes prometheus.Counter) agent.Receiver {
	if !s.cfg.Direct {
		return nil
	}
	return newDirect(s, node, bytes)
}

// Writes is false: containerd writes, while it reads from our mirror.
func (s *Store) Writes() bool { return false }

// Open returns a blob that containerd has, in whatever namespace; see
// [p2p.Store].
func (s *Store) Open(ctx context.Context, dgst digest.Digest) (p2p.Blob, error) {
	if piece.IsFile(dgst) {
		return nil, s.explain("file "+dgst.String(), errdefs.ErrNotFound)
	}
	b, err := contentdir.Open(s.cfg.ContentPath, dgst)
	switch {
	case err == nil:
		return b, nil
	case errdefs.IsInvalidArgument(err):
		return nil, err
	case errdefs.IsNotFound(err) && s.reachable(ctx):
		// A content path of another containerd would hide every blob:
		// ask once more.
		remote, rerr := s.openRemote(ctx, dgst, []string{s.cfg.Namespace})
		if rerr != nil {
			return nil, err
		}
		s.otherPath.Do(func() {
			log.G(ctx).WithFields(log.Fields{"content_path": s.cfg.ContentPath, "address": s.cfg.Address, "blob": dgst}).
				Warn("store: containerd has a blob that its content path lacks; set containerd.content_path to that containerd's")
		})
		return remote, nil
	case !errdefs.IsNotFound(err):
		s.warnNoPath(ctx, err)
	}
	names, err := s.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	return s.openRemote(ctx, dgst, names)
}

// Walk calls fn for every blob until fn returns an error.
func (s *Store) Walk(ctx context.Context, fn func(dgst digest.Digest, size int64) error) error {
	if !s.reachable(ctx) {
		return s.walkRemote(ctx, fn)
	}
	return contentdir.Walk(ctx, s.cfg.ContentPath, func(dgst digest.Digest, info fs.FileInfo) error {
		return fn(dgst, info.Size())
	})
}

// reachable reports whether the content path can be read.
func (s *Store) reachable(ctx context.Context) bool {
	info, err := os.Stat(s.cfg.ContentPath)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		s.warnNoPath(ctx, err)
	}
	return err == nil
}

func (s *Store) warnNoPath(ctx context.Context, err error) {
	s.noPath.Do(func() {
		log.G(ctx).WithError(err).WithField("content_path", s.cfg.ContentPath).
			Warn("store: containerd's files cannot be read, everything goes over its socket, which is slow; check containerd.content_path")
	})
}

var (
	_ p2p.Store            = (*Store)(nil)
	_ agent.ManifestKeeper = (*Store)(nil)
	_ agent.Described      = (*Store)(nil)
	_ agent.Filled         = (*Store)(nil)
)
