package cli

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/cmd/shoal/get"
	"github.com/shoal-p2p/shoal/p2p"
)

// engine is what downloads for get: an agent, or a handler in this process.
type engine struct {
	*get.Engine
	// status tells what it has done.
	status func(context.Context) (*agent.Status, error)
	// alone says that there is no swarm.
	alone bool
	// otherwise says where bytes came from that status does not count.
	otherwise string
	close     func()
}

// findEngine returns the agent's mirror if an agent runs, else an engine of our
// own, unless the user named the agent. Whom to trust is for one of our own to be told.
func findEngine(ctx context.Context, admin string, named bool, own ownOptions) (*engine, error) {
	if own.trusts() && !named {
		return ownEngine(ctx, own)
	}
	s, err := askStatus(ctx, admin)
	if err == nil && s.Mirror == "" {
		err = fmt.Errorf("%s is a supernode, which has no mirror: name an agent with --admin", admin)
	}
	if err == nil {
		e := get.Agent(s.Mirror)
		return &engine{
			Engine: e, otherwise: "through the agent",
			status: func(ctx context.Context) (*agent.Status, error) { return askStatus(ctx, admin) },
			close:  func() { _ = e.Close() },
		}, nil
	}
	if named {
		return nil, err
	}
	return ownEngine(ctx, own)
}

// taskOf is what a status says of a task; the zero value if nothing.
func taskOf(s *agent.Status, task string) p2p.TaskStatus {
	for _, t := range s.Node.Tasks {
		if t.Digest == task {
			return t
		}
	}
	return p2p.TaskStatus{}
}

// watch asks the engine every second where bytes came from, and shows it, until
// stop is called. told says it for the whole time then, of a task of the swarm.
func (e *engine) watch(ctx context.Context, t transfers) (told func(task string) string, stop func()) {
	before, err := e.status(ctx)
	if err != nil {
		return func(string) string { return e.otherwise }, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if now, err := e.status(ctx); err == nil {
					t.polled(before, now)
				}
			}
		}
	})
	told = func(task string) string {
		after, err := e.status(context.WithoutCancel(ctx))
		if err != nil {
			return e.otherwise
		}
		return cmp.Or(bySource(taskOf(before, task).Bytes, taskOf(after, task).Bytes), e.otherwise)
	}
	return told, func() {
		cancel()
		wg.Wait()
	}
}
