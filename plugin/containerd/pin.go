package containerd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// pinPrefix begins the names of our leases: shoal-serving/<run>/<number>.
	pinPrefix = "shoal-serving/"
	// pinTurn is how often the lease is replaced by one for what is still
	// served, and pinExpiry when containerd forgets it by itself. A lease
	// cannot be prolonged in containerd 1.x.
	pinTurn   = 20 * time.Second
	pinExpiry = time.Minute
	// pinTimeout bounds what is done about pins at once.
	pinTimeout = 10 * time.Second
)

// pins keeps the blobs that are served from containerd's garbage collection, by
// a lease in each namespace that has some of them. Nothing waits for it.
type pins struct {
	s    *Store
	run  string // names our leases among those of other runs
	turn time.Duration
	wake chan struct{}

	mu      sync.Mutex
	wanted  map[digest.Digest]int // how often each is pinned
	deleted bool                  // an image was, since the last turn

	// Owned by keep.
	number int
	leases map[string]leases.Lease // by namespace
	held   map[digest.Digest]struct{}
	swept  bool // leases of former runs are gone
}

func newPins(s *Store) *pins {
	return &pins{
		s: s, run: fmt.Sprintf("%016x", rand.Uint64()), turn: pinTurn, wake: make(chan struct{}, 1),
		wanted: map[digest.Digest]int{}, leases: map[string]leases.Lease{}, held: map[digest.Digest]struct{}{},
	}
}

// Pin implements [p2p.Pinner] while [Store.Watch] runs. A blob whose image is
// deleted stays for pinTurn at most.
func (s *Store) Pin(dgst digest.Digest) (unpin func()) {
	s.pins.count(dgst, 1)
	select {
	case s.pins.wake <- struct{}{}:
	default:
	}
	return func() { s.pins.count(dgst, -1) }
}

func (p *pins) count(dgst digest.Digest, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted[dgst] += by; p.wanted[dgst] == 0 {
		delete(p.wanted, dgst)
	}
}

// imageDeleted says that some blobs may be held by pins alone now.
func (p *pins) imageDeleted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deleted = true
}

// keep holds what is pinned until ctx ends, and lets go of it then.
func (p *pins) keep(ctx context.Context) {
	ticker := time.NewTicker(p.turn)
	defer ticker.Stop()
	p.do(ctx, "leases of former runs cannot be removed", p.sweep)
	for {
		select {
		case <-p.wake:
			p.do(ctx, "what is served cannot be pinned", p.hold)
		case <-ticker.C:
			if !p.swept {
				p.do(ctx, "leases of former runs cannot be removed", p.sweep)
			}
			p.do(ctx, "what is served cannot be pinned", p.renew)
		case <-ctx.Done():
			p.do(context.WithoutCancel(ctx), "the pins of this run cannot be removed", p.release)
			return
		}
	}
}

func (p *pins) do(ctx context.Context, what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, pinTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		log.G(ctx).WithError(p.s.explain(what, err)).Debug("store: " + what)
	}
}

// hold adds what is pinned and not held yet to the leases.
func (p *pins) hold(ctx context.Context) error {
	var missing []digest.Digest
	p.mu.Lock()
	for dgst := range p.wanted {
		if _, ok := p.held[dgst]; !ok {
			missing = append(missing, dgst)
		}
	}
	p.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	names, err := p.s.namespaces(ctx)
	if err != nil {
		return err
	}
	for _, dgst := range missing {
		if err := p.holdOne(ctx, dgst, names); err != nil {
			return err
		}
	}
	return nil
}

// holdOne adds a blob to the lease of a namespace that has it; one will do. A
// blob that none has is only a file by now, and stays one while it is open.
func (p *pins) holdOne(ctx context.Context, dgst digest.Digest, names []string) error {
	for _, name := range names {
		ctx := namespaces.WithNamespace(ctx, name)
		_, err := p.s.client.ContentStore().Info(ctx, dgst)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		lease, err := p.lease(ctx, name)
		if err != nil {
			return err
		}
		err = p.s.client.LeasesService().AddResource(ctx, lease, leases.Resource{ID: dgst.String(), Type: "content"})
		if err != nil {
			return err
		}
		p.held[dgst] = struct{}{}
		return nil
	}
	return nil
}

// lease returns the lease of a namespace, and makes it if there is none.
func (p *pins) lease(ctx context.Context, name string) (leases.Lease, error) {
	if l, ok := p.leases[name]; ok {
		return l, nil
	}
	p.number++
	l, err := p.s.client.LeasesService().Create(ctx,
		leases.WithID(fmt.Sprintf("%s%s/%d", pinPrefix, p.run, p.number)), leases.WithExpiration(pinExpiry))
	if err == nil {
		p.leases[name] = l
	}
	return l, err
}

// renew replaces the leases. If an image was deleted, its blobs get their chance
// to go in between.
func (p *pins) renew(ctx context.Context) error {
	p.mu.Lock()
	deleted := p.deleted
	p.deleted = false
	p.mu.Unlock()
	old := p.forget()
	if deleted && len(old) > 0 {
		err := p.remove(ctx, old, leases.SynchronousDelete)
		return errors.Join(err, p.hold(ctx))
	}
	err := p.hold(ctx)
	return errors.Join(err, p.remove(ctx, old))
}

// release removes the leases.
func (p *pins) release(ctx context.Context) error { return p.remove(ctx, p.forget()) }

// forget begins anew, and returns the leases so far.
func (p *pins) forget() map[string]leases.Lease {
	old := p.leases
	p.leases, p.held = map[string]leases.Lease{}, map[digest.Digest]struct{}{}
	return old
}

// remove deletes leases. Those that it cannot delete expire.
func (p *pins) remove(ctx context.Context, old map[string]leases.Lease, how ...leases.DeleteOpt) error {
	var errs []error
	for name, l := range old {
		err := p.s.client.LeasesService().Delete(namespaces.WithNamespace(ctx, name), l, how...)
		if !errdefs.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sweep removes the leases of former runs.
func (p *pins) sweep(ctx context.Context) error {
	names, err := p.s.namespaces(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		ctx := namespaces.WithNamespace(ctx, name)
		all, err := p.s.client.LeasesService().List(ctx)
		if err != nil {
			return err
		}
		for _, l := range all {
			if !strings.HasPrefix(l.ID, pinPrefix) || strings.HasPrefix(l.ID, pinPrefix+p.run) {
				continue
			}
			if err := p.s.client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
	}
	p.swept = true
	return nil
}

var _ p2p.Pinner = (*Store)(nil)
