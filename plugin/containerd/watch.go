package containerd

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

const (
	// topics are the events that are about blobs. 1.6 tells of images alone,
	// and no version tells of what its garbage collection removes.
	topics = `topic~="^/(images|content)/"`
	// settleAfter is when the store is looked at again after an event: a
	// pull commits, or garbage is collected, a moment later.
	settleAfter = 3 * time.Second
	// observeEvery is how often the times of the blobs' directories are
	// looked at; listEvery is how often the store is listed where only the
	// socket is there.
	observeEvery = 2 * time.Second
	listEvery    = time.Minute
	// resubscribeAfter is the first pause before subscribing again, doubled
	// from one try to the next.
	resubscribeAfter = 250 * time.Millisecond
	resubscribeMost  = 16 * time.Second
)

// Watch implements [p2p.Watcher]: it calls changed when containerd tells of an
// event, when the directories of its blobs change, and after a time without
// containerd. It also keeps what [Store.Pin] pins.
func (s *Store) Watch(ctx context.Context, changed func()) {
	var wg sync.WaitGroup
	wg.Go(func() { s.hearEvents(ctx, changed) })
	wg.Go(func() { s.pins.keep(ctx) })
	s.observe(ctx, changed)
	wg.Wait()
}

// hearEvents keeps a subscription to containerd's events, of all namespaces.
func (s *Store) hearEvents(ctx context.Context, changed func()) {
	for try := 1; ; try++ {
		start := time.Now()
		err := s.hearSome(ctx, changed)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > resubscribeMost {
			try = 1
		}
		wait := resubscribe(try)
		log.G(ctx).WithError(err).WithFields(log.Fields{"address": s.cfg.Address, "again_in": wait}).
			Info("store: containerd's events have ended; new images are noticed later until they are back")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// resubscribe is the pause before the next subscription.
func resubscribe(try int) time.Duration {
	return min(resubscribeMost, resubscribeAfter<<min(try-1, 10))
}

// hearSome hears events until they end.
func (s *Store) hearSome(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	events, errs := s.client.EventService().Subscribe(ctx, topics)
	defer func() {
		cancel()
		for range errs { // until its goroutine has ended
		}
	}()
	select {
	case err := <-errs:
		return err // nobody is there
	default:
	}
	changed() // what was told before was missed
	settle := time.NewTimer(settleAfter)
	defer settle.Stop()
	for {
		select {
		case e := <-events:
			if e.Topic == "/images/delete" {
				s.pins.imageDeleted()
			}
			changed()
			settle.Reset(settleAfter)
		case <-settle.C:
			changed()
		case err := <-errs:
			return err
		}
	}
}

// observe looks at the blobs' directories, or makes the store be listed now and
// then where they are out of reach.
func (s *Store) observe(ctx context.Context, changed func()) {
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	var last string
	again := false
	listed := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		state, err := contentdir.State(s.cfg.ContentPath)
		switch {
		case err == nil && state != "":
			// Once more after a change: another may have looked like it.
			if state != last || again {
				changed()
			}
			last, again = state, state != last
		case time.Since(listed) >= listEvery:
			listed = time.Now()
			changed()
		}
	}
}

var _ p2p.Watcher = (*Store)(nil)
