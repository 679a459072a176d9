package resolver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"
)

// tries is how often a question without a body to go on from is asked. Blobs
// are asked for once: who reads one goes on from the byte that it has.
const tries = 3

// again decides whether to ask once more after an upstream that could not be
// reached, and how long to wait before: 50 ms and then 100 ms, give or take half
// of it. jitter is in [0, 1). After a timeout there is no time left: a client
// waits 30 s for headers and then goes elsewhere.
func again(try int, err error, jitter float64) (wait time.Duration, ok bool) {
	var timeout net.Error
	switch {
	case try >= tries-1,
		errors.Is(err, errRedirect),
		errors.Is(err, context.Canceled),
		errors.As(err, &timeout) && timeout.Timeout():
		return 0, false
	}
	base := 50 * time.Millisecond << try
	return base/2 + time.Duration(jitter*float64(base)), true
}

// waitToRetry waits and reports whether to ask once more.
func waitToRetry(ctx context.Context, try int, err error) bool {
	wait, ok := again(try, err, rand.Float64())
	if !ok {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
