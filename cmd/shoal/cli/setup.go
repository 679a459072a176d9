package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/daemon"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/local"
	"github.com/shoal-p2p/shoal/resolver"
)

// startLog directs the log. The returned function closes its file.
func startLog(cfg *config.Config) (func(), error) {
	level, err := logrus.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log.level is %q: it is trace, debug, info, warn or error", cfg.LogLevel)
	}
	logrus.SetLevel(level)
	if cfg.LogFormat == "json" {
		logrus.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		logrus.SetFormatter(&logrus.TextFormatter{TimestampFormat: time.RFC3339, FullTimestamp: true})
	}
	if cfg.LogPath == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(cfg.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log.path: %w", err)
	}
	logrus.SetOutput(f)
	return func() {
		logrus.SetOutput(os.Stderr)
		_ = f.Close()
	}, nil
}

// beside is what a process needs beside its pieces, in bytes.
const beside = 40 << 20

// limitMemory keeps the garbage collector from letting the heap grow to twice
// the piece memory. GOMEMLIMIT has the last word.
func limitMemory(pieces int64) {
	if pieces == 0 {
		pieces = p2p.DefaultMemory
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(pieces + beside)
	}
}

// store is a content store that also keeps manifests.
type store struct {
	p2p.Store
	manifests mirror.ManifestStore
	io.Closer
}

func openLocal(cfg *config.Config) (*store, error) {
	// containerd's library warns of file systems without fs-verity, which
	// Shoal does not use.
	level := logrus.GetLevel()
	logrus.SetLevel(min(level, logrus.ErrorLevel))
	s, err := local.New(local.Config{Dir: cfg.StoreDir, MaxBytes: cfg.StoreMaxBytes})
	logrus.SetLevel(level)
	if err != nil {
		return nil, err
	}
	return &store{Store: s, manifests: s.Manifests(), Closer: s}, nil
}

func openStore(cfg *config.Config) (*store, error) {
	if cfg.StoreKind == "local" {
		return openLocal(cfg)
	}
	s, err := openContainerd(cfg)
	if err != nil {
		return nil, err
	}
	return &store{Store: s, manifests: s.Manifests(), Closer: s}, nil
}

func openContainerd(cfg *config.Config) (*containerd.Store, error) {
	return containerd.New(containerd.Config{
		Address: cfg.ContainerdAddress, Namespace: cfg.ContainerdNamespace, ContentPath: cfg.ContainerdContentPath,
	})
}

func newResolver(cfg *config.Config) (*resolver.Resolver, error) {
	rc := resolver.Config{UserAgent: "shoal/" + version}
	for _, r := range cfg.Registries {
		rc.Registries = append(rc.Registries, resolver.Registry(r))
	}
	return resolver.New(rc)
}

// parts is what every daemon is made of.
type parts struct {
	store    *store
	resolver *resolver.Resolver
	registry *prometheus.Registry
	metrics  *metrics.Set
	closeLog func()
}

// prepare makes the parts. The caller closes them.
func prepare(cfg *config.Config, open func(*config.Config) (*store, error)) (*parts, error) {
	closeLog, err := startLog(cfg)
	if err != nil {
		return nil, err
	}
	limitMemory(cfg.MemoryPieces)
	p := &parts{closeLog: closeLog}
	if p.resolver, err = newResolver(cfg); err != nil {
		closeLog()
		return nil, err
	}
	if p.store, err = open(cfg); err != nil {
		p.resolver.Close()
		closeLog()
		return nil, err
	}
	p.registry, p.metrics = newMetrics()
	return p, nil
}

func (p *parts) close() {
	_ = p.store.Close()
	p.resolver.Close()
	p.closeLog()
}

// mirrorServers serve clients and operators of a node on this machine.
func (p *parts) mirrorServers(cfg *config.Config, node *p2p.Node, status func() Status) ([]daemon.Server, error) {
	front, err := mirror.New(mirror.Config{
		DefaultRegistry: cfg.DefaultRegistry, Node: node, Resolver: p.resolver, Manifests: p.store.manifests,
		StaleFor: cfg.StaleFor, Metrics: p.metrics,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	admin(mux, p.registry, status, cfg.AdminPprof)
	warnIfOpen("mirror.listen", cfg.MirrorListen)
	warnIfOpen("admin.listen", cfg.AdminListen)
	return []daemon.Server{
		{Name: "mirror", Key: "mirror.listen", Addr: cfg.MirrorListen, Handler: front, Clients: true},
		{Name: "admin", Key: "admin.listen", Addr: cfg.AdminListen, Handler: mux},
	}, nil
}

// warnIfOpen says so when an address that is for this machine is open to
// others.
func warnIfOpen(key, addr string) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return
	}
	log.L.WithField("address", addr).Warnf("%s is open to other machines, without authentication", key)
}
