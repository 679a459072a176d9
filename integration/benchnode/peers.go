package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/procstat"
)

// peers measures what an agent that has a blob, and the supernode, send to
// agents that pull it all at once. They send to each other too.
func (b *bench) peers(ctx context.Context) error {
	for _, n := range []int{1, 8} {
		if err := b.upload(ctx, n); err != nil {
			return fmt.Errorf("%d peers: %w", n, err)
		}
	}
	return nil
}

func (b *bench) upload(ctx context.Context, n int) error {
	var direct, shoal []float64 // bytes per second
	var byAgents, all int64
	for range b.runs {
		s, err := b.swarm(ctx, n)
		if err != nil {
			return err
		}
		all, byAgents = all+s.sent+s.seeded, byAgents+s.sent
		direct = append(direct, float64(b.size/4)/s.direct.Seconds())
		shoal = append(shoal, float64(s.sent+s.seeded)/s.took.Seconds())
	}
	r := row{
		what:    fmt.Sprintf("upload of a %d MiB blob", b.size/4/mib),
		through: fmt.Sprintf("supernode and 1 agent to %d, %d %% by agents", n, 100*byAgents/all),
		against: "direct, verified by the client",
	}
	b.table.ratio(r, median(shoal)/mib, median(direct)/mib, "%.0f MiB/s")
	return nil
}

// exchange is what a swarm did. The agents sent and the supernode seeded so many
// bytes.
type exchange struct {
	sent, seeded int64
	took, direct time.Duration
}

func (b *bench) swarm(ctx context.Context, n int) (e exchange, err error) {
	dgst, err := b.up.blob(b.size / 4)
	if err != nil {
		return e, err
	}
	g, err := b.group()
	if err != nil {
		return e, err
	}
	defer g.stop()
	super, err := b.supernode(ctx, g)
	if err != nil {
		return e, err
	}
	var agents []*node
	for range 1 + n {
		a, err := b.agent(ctx, g, "--supernodes", super.admin)
		if err != nil {
			return e, err
		}
		agents = append(agents, a)
	}
	for _, a := range agents {
		if err := g.awaitAgent(ctx, a); err != nil {
			return e, err
		}
	}
	if _, err := b.download(ctx, agents[0].mirror, dgst, whole); err != nil {
		return e, err
	}
	if _, err := procstat.RestingCPU(ctx, []int{super.pid, agents[0].pid}); err != nil { // it is stored
		return e, err
	}
	if e.direct, err = b.download(ctx, b.up.host, dgst, verified); err != nil {
		return e, err
	}
	sentBefore, seededBefore, err := uploads(ctx, super, agents)
	if err != nil {
		return e, err
	}
	if err := floor.Touch(); err != nil {
		return e, err
	}
	start := time.Now()
	all, pulling := errgroup.WithContext(ctx)
	for _, a := range agents[1:] {
		all.Go(func() error {
			_, err := b.download(pulling, a.mirror, dgst, whole)
			return err
		})
	}
	err = all.Wait()
	e.took = time.Since(start)
	if err != nil {
		return e, err
	}
	e.sent, e.seeded, err = uploads(ctx, super, agents)
	e.sent, e.seeded = e.sent-sentBefore, e.seeded-seededBefore
	return e, err
}

func uploads(ctx context.Context, super *node, agents []*node) (sent, seeded int64, err error) {
	if seeded, err = super.counter(ctx, "shoal_seed_bytes_total"); err != nil {
		return 0, 0, err
	}
	for _, a := range agents {
		v, err := a.counter(ctx, "shoal_upload_bytes_total")
		if err != nil {
			return 0, 0, err
		}
		sent += v
	}
	return sent, seeded, nil
}
