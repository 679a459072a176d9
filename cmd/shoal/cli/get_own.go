package cli

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/cmd/shoal/get"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/resolver"
)

// connectTimeout is how long an engine of our own waits for its supernode.
const connectTimeout = 3 * time.Second

// ownOptions are those of an engine of our own.
type ownOptions struct {
	supernodes []string
	caFile     string
	insecure   bool
}

// trusts reports whether it is said whom to trust.
func (o ownOptions) trusts() bool { return o.caFile != "" || o.insecure }

// ownEngine is an agent in this process, for as long as the command runs: it keeps
// nothing, and gives to others from memory. Without a supernode the source alone is
// read, past all that.
func ownEngine(ctx context.Context, o ownOptions) (*engine, error) {
	cfg := agent.Config{Store: p2p.NoStore{}, Grace: -1}
	if o.trusts() {
		cfg.Trust = []resolver.Pattern{{Host: regexp.MustCompile(""), CAFile: o.caFile, Insecure: o.insecure}}
	}
	for _, s := range o.supernodes {
		addr, err := config.SupernodeAddress(s)
		if err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
		cfg.Supernodes = append(cfg.Supernodes, addr)
	}
	if len(cfg.Supernodes) > 0 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return nil, fmt.Errorf("no port for other nodes: %w", err)
		}
		cfg.Peers.Listener = l
	}
	a, err := agent.New(cfg)
	if err != nil {
		if l := cfg.Peers.Listener; l != nil {
			_ = l.Close()
		}
		return nil, err
	}
	logrus.SetLevel(logrus.ErrorLevel) // what an agent warns of is of no use here
	giveBack := takeRemarks()
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(run) })
	e := get.Serve(a.Files())
	own := &engine{
		Engine: e, otherwise: "from the source", alone: len(cfg.Supernodes) == 0,
		status: func(context.Context) (*agent.Status, error) {
			s := a.Status()
			return &s, nil
		},
		close: func() {
			_ = e.Close()
			stop()
			wg.Wait()
			giveBack()
		},
	}
	if len(cfg.Supernodes) > 0 && !joins(ctx, a) {
		own.close()
		return nil, fmt.Errorf("the supernode %s cannot be reached; without --supernodes the source is read alone", cfg.Supernodes[0])
	}
	return own, nil
}

// joins waits until the agent has found its supernode.
func joins(ctx context.Context, a *agent.Agent) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !a.Status().Node.Supernode.Connected {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
