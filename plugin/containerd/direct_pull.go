package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// watchEvery is how often is looked whether the pull goes on.
	watchEvery = 2 * time.Second
	// unseen is how often it may look as if nobody pulled. A client whose pull
	// has ended is seen by its lease, which goes; that of one which was killed
	// stays.
	unseen = 2
	// unseenAtAll is how often, if no client was seen at all: not every one has
	// a lease.
	unseenAtAll = 4
	// lingerMin and lingerMax are how long a pull's lease outlives its last
	// layer: who waits for one looks again within two seconds.
	lingerMin = 6 * time.Second
	lingerMax = 2 * time.Minute
	// storeTries is how often a layer is taken up again after containerd
	// failed, storePause how long that is waited for.
	storeTries = 6
	storePause = 3 * time.Second
)

// pull is an image that containerd pulls.
type pull struct {
	d        *Direct
	manifest digest.Digest
	layers   []*layer
	source   func(digest.Digest) p2p.Source
	lease    string

	locked chan struct{} // closed when the references are locked
	filled chan struct{} // closed when all layers have come, or will not
	over   chan struct{} // closed when containerd's pull has ended
}

// run receives the layers, and keeps its lease until containerd has taken them
// over.
func (p *pull) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, p.d.s.cfg.Namespace), pullTimeout)
	defer cancel()
	ctx = log.WithLogger(ctx, log.G(ctx).WithField("manifest", p.manifest))
	if err := p.createLease(ctx); err != nil {
		log.G(ctx).WithError(p.d.s.explain("lease", err)).Warn("layers are left to containerd")
		close(p.locked)
		close(p.filled)
		return
	}
	defer p.deleteLease(ctx)
	filling, stop := context.WithCancel(ctx)
	var fills, watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	work := make(chan *layer, len(p.layers))
	for range fillsAtOnce {
		fills.Go(func() {
			for l := range work {
				p.fill(filling, l)
			}
		})
	}
	held := p.lock(leases.WithLease(filling, p.lease), work)
	close(work)
	close(p.locked)
	if held > 0 {
		p.d.warnOld(ctx)
		watch.Go(func() { p.watch(ctx, stop) })
	}
	fills.Wait()
	close(p.filled)
	if held > 0 {
		p.linger(ctx)
	}
	cancel()
}

// linger waits until containerd has come for the last layers.
func (p *pull) linger(ctx context.Context) {
	if sleep(ctx, p.d.lingerMin) != nil {
		return
	}
	timer := time.NewTimer(p.d.lingerMax)
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watch notices when nobody pulls any more, and ends the filling then: the pull
// was cancelled, or has failed.
func (p *pull) watch(ctx context.Context, stop func()) {
	defer close(p.over)
	seen, missed := false, 0
	for wait := p.d.watchEvery / 16; sleep(ctx, wait) == nil; wait = min(2*wait, p.d.watchEvery) {
		there, err := p.pulled(ctx)
		switch {
		case err != nil: // containerd may be starting again
		case there:
			seen, missed = true, 0
		default:
			missed++
		}
		if seen && missed >= unseen {
			stop()
			return
		}
		select {
		case <-p.filled:
			if !seen && missed >= unseenAtAll {
				return
			}
		default:
		}
	}
}

// lock opens the writers in the order of the layers, which is the same on all
// nodes, and hands those on that nobody else holds.
func (p *pull) lock(ctx context.Context, work chan<- *layer) (held int) {
	for _, l := range p.layers {
		err := p.d.s.openWriter(ctx, l)
		switch {
		case err == nil:
			held++
			log.G(ctx).WithField("blob", l.desc.Digest).Debug("receiving a layer for containerd")
			work <- l
		case errdefs.IsUnavailable(err) || errdefs.IsAlreadyExists(err):
			log.G(ctx).WithError(err).WithField("blob", l.desc.Digest).Debug("a layer is left to containerd")
		default:
			log.G(ctx).WithError(p.d.s.explain("writer", err)).Warn("layers are left to containerd")
			return held
		}
	}
	return held
}

// fill receives a layer whose writer is held, and commits it.
func (p *pull) fill(ctx context.Context, l *layer) {
	entry := log.G(ctx).WithField("blob", l.desc.Digest)
	for try := 1; ; try++ {
		err := p.tryFill(ctx, l)
		l.letGo()
		var failed *storeError
		switch {
		case err == nil:
			entry.Debug("received a layer for containerd")
			return
		case ctx.Err() != nil:
			return
		case !errors.As(err, &failed) || try == storeTries:
			entry.WithError(err).Warn("a layer did not come; containerd goes on from where it is")
			return
		}
		entry.WithError(err).Debug("containerd failed")
		for err = errdefs.ErrUnavailable; err != nil && try < storeTries; try++ { // it may be starting again
			if sleep(ctx, storePause) != nil {
				return
			}
			if err = p.d.s.openWriter(leases.WithLease(ctx, p.lease), l); errdefs.IsAlreadyExists(err) {
				return
			}
		}
		if err != nil {
			entry.WithError(err).Debug("a layer is left to containerd")
			return
		}
	}
}

// storeError is containerd's, not the swarm's: it may be better soon.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// tryFill writes what is missing of a layer and commits it. What it leaves behind
// on an error was verified.
func (p *pull) tryFill(ctx context.Context, l *layer) error {
	status, err := l.writer.Status()
	if err != nil {
		return &storeError{err}
	}
	size, dgst := l.desc.Size, l.desc.Digest
	if status.Offset > size {
		l.discard(ctx)
		return fmt.Errorf("containerd has %d bytes of a layer of %d", status.Offset, size)
	}
	if status.Offset < size {
		if err := p.copy(ctx, l, status.Offset); err != nil {
			if e := new(oci.Error); errors.As(err, &e) && e.Code == oci.CodeDigestInvalid {
				l.discard(ctx)
			}
			return err
		}
	}
	if got := l.writer.Digest(); got != dgst {
		l.discard(ctx)
		return fmt.Errorf("what containerd has hashes to %s", got)
	}
	if err := l.commit(ctx); err != nil && !errdefs.IsAlreadyExists(err) {
		return &storeError{err}
	}
	return nil
}

// copy writes the bytes from offset on as a client of the node gets them, which is
// verified.
func (p *pull) copy(ctx context.Context, l *layer, offset int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := newBatch(l.writer, p.d.bytes, p.d.stalledAfter, func() {
		cancel(fmt.Errorf("nothing came for %v", p.d.stalledAfter))
		l.cancel()
	})
	defer b.end()
	c, err := p.d.node.Open(ctx, l.desc.Digest, p.source(l.desc.Digest))
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() != l.desc.Size {
		return fmt.Errorf("the layer has %d bytes, its manifest says %d", c.Size(), l.desc.Size)
	}
	if _, err = c.CopyRange(ctx, b, offset, l.desc.Size-offset); err == nil {
		err = b.flush()
	}
	if b.failed != nil && context.Cause(ctx) == nil {
		return &storeError{b.failed}
	}
	return errors.Join(err, context.Cause(ctx))
}
