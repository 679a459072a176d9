package proxy

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// session is something under way: a tunnel, or a proxied request.
type session struct {
	cut func() // ends it soon

	// Guarded by the mutex of the sessions.
	moved func() uint64 // grows as bytes move; nil: it is never idle
	last  uint64
	since time.Time // that moved is last; zero: never looked at
}

// sessions are those of a proxy. The zero value has none.
type sessions struct {
	running sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	active map[*session]struct{}
}

// enter adds a session, which leaves by itself. It returns false at the end.
func (s *sessions) enter(one *session) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false
	}
	if s.active == nil {
		s.active = map[*session]struct{}{}
	}
	s.active[one] = struct{}{}
	s.running.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.active, one)
		s.running.Done()
	}, true
}

// request adds a request, whose context is then the one that is returned.
func (s *sessions) request(w http.ResponseWriter, r *http.Request) (ctx context.Context, leave func(), ok bool) {
	ctx, cancel := context.WithCancel(r.Context())
	control := http.NewResponseController(w)
	one := &session{cut: func() {
		cancel()
		_ = control.SetWriteDeadline(time.Now()) // the client may not read
	}}
	left, ok := s.enter(one)
	if !ok {
		cancel()
		return nil, nil, false
	}
	becomes := func(moved func() uint64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		one.moved = moved
	}
	return context.WithValue(ctx, tunnelKey{}, becomes), func() {
		left()
		cancel()
	}, true
}

// tunnelKey is where a request's context has a func(moved func() uint64), which
// makes it a tunnel: one that is cut when idle.
type tunnelKey struct{}

// sweep cuts the sessions in which nothing moved for a time.
func (s *sessions) sweep(now time.Time, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.active {
		if one.moved == nil {
			continue
		}
		switch moved := one.moved(); {
		case moved != one.last || one.since.IsZero():
			one.last, one.since = moved, now
		case now.Sub(one.since) >= idle:
			one.cut()
		}
	}
}

// watch sweeps until ctx ends.
func (s *sessions) watch(ctx context.Context, idle time.Duration) {
	t := time.NewTicker(max(idle/16, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.sweep(now, idle)
		}
	}
}

// restless is how long nothing may move in a tunnel that is waited for.
const restless = time.Second

// drain waits until no session is left, or ctx ends.
func (s *sessions) drain(ctx context.Context) error {
	t := time.NewTicker(restless / 10)
	defer t.Stop()
	for s.count() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-t.C:
			s.sweep(now, restless)
		}
	}
	return nil
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

// end cuts all sessions, lets no more in, and waits for those there are.
func (s *sessions) end() {
	s.mu.Lock()
	s.ended = true
	for one := range s.active {
		one.cut()
	}
	s.mu.Unlock()
	s.running.Wait()
}
