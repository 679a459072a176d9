package cli

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/local"
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

// begin sets what belongs to the whole process. The returned function takes the
// log back.
func begin(cfg *config.Config) (func(), error) {
	limitMemory(cfg.MemoryPieces)
	end, err := startLog(cfg)
	if err != nil {
		return nil, err
	}
	giveBack := takeRemarks()
	return func() {
		giveBack()
		end()
	}, nil
}

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

func openLocal(cfg *config.Config) (*local.Store, error) {
	// containerd's library warns of file systems without fs-verity, which
	// Shoal does not use.
	level := logrus.GetLevel()
	logrus.SetLevel(min(level, logrus.ErrorLevel))
	defer logrus.SetLevel(level)
	return local.New(local.Config{Dir: cfg.StoreDir, MaxBytes: cfg.StoreMaxBytes})
}

// store is a content store, which whoever opened it closes.
type store interface {
	p2p.Store
	io.Closer
}

// none is the store of an agent that keeps nothing.
type none struct{ p2p.NoStore }

func (none) Close() error          { return nil }
func (none) Info() agent.StoreInfo { return agent.StoreInfo{Kind: "none"} }

func openStore(cfg *config.Config) (store, error) {
	switch cfg.StoreKind {
	case "local":
		return openLocal(cfg)
	case "none":
		return none{}, nil
	}
	return containerd.New(containerd.Config{
		Address: cfg.ContainerdAddress, Namespace: cfg.ContainerdNamespace, ContentPath: cfg.ContainerdContentPath,
		Direct: cfg.ContainerdIngest == "direct",
	})
}
