package files

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/resolver"
)

// Config is what a [Files] is made of.
type Config struct {
	// Node provides the bytes.
	Node *p2p.Node
	// Resolver reaches the sources.
	Resolver *resolver.Resolver
	// Metrics counts.
	Metrics *metrics.Set
	// Dir is where answers of sources are kept for after a restart; "" keeps none.
	Dir string
	// StaleFor is how long a file may be served as it last was while its source
	// cannot be reached, and says nothing of it; 0 means a day.
	StaleFor time.Duration
	// Relay passes on a request that is no download's, and that only the source can
	// answer; nil means what does so for downloads.
	Relay http.Handler
	// ClientStall is how long a client may read nothing before its connection is
	// cut; 0 means 5 minutes.
	ClientStall time.Duration
}

// Files is a handler of requests for files.
type Files struct {
	cfg   Config
	known *known
}

// New returns a handler. It starts nothing, and makes Config.Dir.
func New(cfg Config) (*Files, error) {
	if cfg.Node == nil || cfg.Resolver == nil || cfg.Metrics == nil {
		return nil, errors.New("files: config lacks a node, a resolver or metrics")
	}
	cfg.StaleFor = cmp.Or(cfg.StaleFor, 24*time.Hour)
	cfg.ClientStall = cmp.Or(cfg.ClientStall, 5*time.Minute)
	s, err := openShelf(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("files: the folder for what sources have said: %w", err)
	}
	return &Files{cfg: cfg, known: newKnown(s)}, nil
}

// With is the handler with another relay.
func (f *Files) With(relay http.Handler) http.Handler {
	g := *f
	g.cfg.Relay = relay
	return &g
}

var _ http.Handler = (*Files)(nil)
