package resolver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// drain lets a connection be used again if little is left to read.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	_ = resp.Body.Close()
}

// stallGuard ends a body whose sender falls silent. Time counts while somebody
// reads: a reader that pauses does not make an upstream look dead.
type stallGuard struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	fired atomic.Bool
}

func guard(body io.ReadCloser, limit time.Duration) *stallGuard {
	g := &stallGuard{ReadCloser: body, limit: limit}
	g.timer = time.AfterFunc(limit, func() {
		g.fired.Store(true)
		_ = body.Close() // ends the read that waits
	})
	g.timer.Stop()
	return g
}

func (g *stallGuard) Read(p []byte) (int, error) {
	g.timer.Reset(g.limit)
	n, err := g.ReadCloser.Read(p)
	g.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) && g.fired.Load() {
		err = fmt.Errorf("the upstream sent nothing for %v", g.limit)
	}
	return n, err
}

func (g *stallGuard) Close() error {
	g.timer.Stop()
	return g.ReadCloser.Close()
}

// parseContentRange reads "bytes first-last/size" (RFC 9110, 14.4). size is -1
// if it is not told.
func parseContentRange(s string) (first, last, size int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, fmt.Errorf("Content-Range %.80q cannot be read", s)
	}
	first, err1 := digits(a)
	last, err2 := digits(b)
	size = -1
	var err3 error
	if total != "*" {
		size, err3 = digits(total)
	}
	if err := errors.Join(err1, err2, err3); err != nil || last < first || size >= 0 && last >= size {
		return 0, 0, 0, fmt.Errorf("Content-Range %.80q makes no sense", s)
	}
	return first, last, size, nil
}

// digits reads a number that has no sign.
func digits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
