package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
)

// Server is one address and what answers there.
type Server struct {
	Name    string // for messages
	Key     string // configuration key of the address
	Addr    string // host:port
	Handler http.Handler
	// Listener is bound already, instead of Addr; Run closes it.
	Listener net.Listener
	// ConnContext is that of http.Server; nil adds nothing.
	ConnContext func(context.Context, net.Conn) context.Context
	// Clients marks a server whose running requests are waited for. The
	// others carry streams that end with the node.
	Clients bool
}

// Config is what a daemon runs.
type Config struct {
	Servers []Server
	// Run is the daemon's own work. It returns when its context ends, which is
	// after clients have been served.
	Run func(ctx context.Context) error
	// Drain, if not nil, waits for work that is not a request of a client, beside
	// those. It returns when its context ends, at the latest.
	Drain func(ctx context.Context) error
	// Grace is how long clients' requests may take to finish.
	Grace time.Duration
	// Ready is called when all addresses are bound, before anything is served
	// there; may be nil.
	Ready func(bound []net.Addr)
}

// Limits on what a remote side does to a server.
const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 1 << 20
)

// Run serves until ctx ends. It returns nil after an orderly end.
func Run(ctx context.Context, cfg Config) error {
	listeners, err := listen(ctx, cfg.Servers)
	if err != nil {
		return err
	}
	if cfg.Ready != nil {
		bound := make([]net.Addr, len(listeners))
		for i, l := range listeners {
			bound[i] = l.Addr()
		}
		cfg.Ready(bound)
	}
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	servers := make([]*http.Server, len(cfg.Servers))
	for i, s := range cfg.Servers {
		servers[i] = newServer(ctx, s)
		group.Go(func() error {
			if err := servers[i].Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s server: %w", s.Name, err)
			}
			return nil
		})
	}
	group.Go(func() error { return cfg.Run(work) })
	select {
	case <-ctx.Done():
		log.G(ctx).Infof("stopping; running requests have %v to finish", cfg.Grace)
	case <-failed.Done():
	}
	drain(ctx, cfg, servers)
	endWork()
	for _, s := range servers {
		_ = s.Close()
	}
	return group.Wait()
}

// drain lets the requests of clients finish.
func drain(ctx context.Context, cfg Config, servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Grace)
	defer cancel()
	var group errgroup.Group
	if cfg.Drain != nil {
		group.Go(func() error { return cfg.Drain(ctx) })
	}
	for i, s := range cfg.Servers {
		if s.Clients {
			group.Go(func() error { return servers[i].Shutdown(ctx) })
		}
	}
	if err := group.Wait(); err != nil {
		log.G(ctx).WithError(err).Warn("requests were cut short; clients go on elsewhere")
	}
}

func listen(ctx context.Context, servers []Server) ([]net.Listener, error) {
	listeners := make([]net.Listener, len(servers))
	for i, s := range servers {
		listeners[i] = s.Listener
	}
	for i, s := range servers {
		if s.Listener != nil {
			continue
		}
		l, err := net.Listen("tcp", s.Addr)
		if err != nil {
			for _, l := range listeners {
				if l != nil {
					_ = l.Close()
				}
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, fmt.Errorf("%s is in use by another process: stop that, or set %s to another address", s.Addr, s.Key)
			}
			return nil, fmt.Errorf("%s cannot be bound: %w; set %s", s.Addr, err, s.Key)
		}
		listeners[i] = l
	}
	for i, s := range servers {
		log.G(ctx).WithField("address", listeners[i].Addr()).Infof("%s is served", s.Name)
	}
	return listeners, nil
}

func newServer(ctx context.Context, s Server) *http.Server {
	logger := log.G(ctx)
	return &http.Server{
		Handler:           s.Handler,
		BaseContext:       func(net.Listener) context.Context { return log.WithLogger(context.Background(), logger) },
		ConnContext:       s.ConnContext,
		ErrorLog:          stdlog.New(warnings{logger.WithField("server", s.Name)}, "", 0),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
}

// warnings puts what net/http complains of into our log.
type warnings struct{ log *log.Entry }

func (w warnings) Write(line []byte) (int, error) {
	w.log.Warn(strings.TrimSpace(string(line)))
	return len(line), nil
}
