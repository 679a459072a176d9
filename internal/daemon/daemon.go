package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
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
	// Grace is how long clients' requests may take to finish.
	Grace time.Duration
	// Ready is called when all addresses are bound; may be nil.
	Ready func()
}

// Limits on what a remote side does to a server.
const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 1 << 20
)

// Run serves until ctx ends or a signal comes. It returns nil after an orderly
// end.
func Run(ctx context.Context, cfg Config) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	listeners, err := listen(cfg.Servers)
	if err != nil {
		return err
	}
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	servers := make([]*http.Server, len(cfg.Servers))
	for i, s := range cfg.Servers {
		servers[i] = newServer(s)
		group.Go(func() error {
			if err := servers[i].Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s server: %w", s.Name, err)
			}
			return nil
		})
	}
	group.Go(func() error { return cfg.Run(work) })
	if cfg.Ready != nil {
		cfg.Ready()
	}
	select {
	case <-ctx.Done():
		stop() // the next signal ends the process
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
	for i, s := range cfg.Servers {
		if s.Clients {
			group.Go(func() error { return servers[i].Shutdown(ctx) })
		}
	}
	if err := group.Wait(); err != nil {
		log.G(ctx).WithError(err).Warn("requests were cut short; clients go on elsewhere")
	}
}

func listen(servers []Server) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, s := range servers {
		l, err := net.Listen("tcp", s.Addr)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, fmt.Errorf("%s is in use by another process: stop that, or set %s to another address", s.Addr, s.Key)
			}
			return nil, fmt.Errorf("%s cannot be bound: %w; set %s", s.Addr, err, s.Key)
		}
		log.L.WithField("address", l.Addr()).Infof("%s is served", s.Name)
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func newServer(s Server) *http.Server {
	return &http.Server{
		Handler:           s.Handler,
		ConnContext:       s.ConnContext,
		ErrorLog:          stdlog.New(warnings{s.Name}, "", 0),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
}

// warnings puts what net/http complains of into our log.
type warnings struct{ server string }

func (w warnings) Write(line []byte) (int, error) {
	log.L.WithField("server", w.server).Warn(strings.TrimSpace(string(line)))
	return len(line), nil
}
