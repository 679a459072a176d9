package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

// openUpstream opens the blob at the first source that has it. Failures that
// may pass are tried again; the last refusal is the answer.
func (t *task) openUpstream(ctx context.Context, offset, end int64) (io.ReadCloser, int64, error) {
	var last error
	for try := range upstreamTries {
		if try > 0 {
			if err := pause(ctx, backoff(try)); err != nil {
				return nil, 0, err
			}
		}
		t.n.mu.Lock()
		sources := t.sources
		t.n.mu.Unlock()
		for k := len(sources) - 1; k >= 0; k-- { // the newest credentials first
			body, size, err := sources[k].Open(ctx, offset, end)
			if err == nil {
				return body, size, nil
			}
			last = err
		}
		var refused *oci.Error
		if errors.As(last, &refused) && !refused.Temporary() {
			break
		}
	}
	if last == nil {
		last = errors.New("no upstream is known")
	}
	return nil, 0, last
}

// upstreamBody is a blob being read from the upstream, reopened where it breaks.
type upstreamBody struct {
	t      *task
	body   io.ReadCloser // nil after a break
	offset int64
	end    int64 // 0: the blob's
	tries  int   // since the last byte
}

func (u *upstreamBody) close() {
	if u.body != nil {
		_ = u.body.Close()
	}
}

// readFull fills p, and hashes it on the way unless link is nil.
func (u *upstreamBody) readFull(ctx context.Context, p []byte, link *piece.Link) (err error) {
	for len(p) > 0 {
		if u.body == nil {
			if u.body, _, err = u.t.openUpstream(ctx, u.offset, u.end); err != nil {
				return err
			}
		}
		n, err := u.body.Read(p[:min(len(p), 256<<10)])
		if n > 0 {
			u.t.n.count(metrics.SourceUpstream, n)
			u.t.bytes.add(metrics.SourceUpstream, int64(n))
			if link != nil {
				_, _ = link.Write(p[:n])
			}
			p, u.offset, u.tries = p[n:], u.offset+int64(n), 0
		}
		if err == nil || len(p) == 0 {
			continue
		}
		_ = u.body.Close()
		u.body = nil
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if u.tries++; u.tries >= upstreamTries {
			return fmt.Errorf("the upstream breaks off at byte %d: %w", u.offset, err)
		}
		if err := pause(ctx, backoff(u.tries)); err != nil {
			return err
		}
	}
	return nil
}

// backoff is 100 ms and doubles, with a jitter of half of it.
func backoff(try int) time.Duration {
	d := 100 * time.Millisecond << min(try-1, 5)
	return d/2 + rand.N(d)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
