package resolver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stallTimeout is how long an upstream may send nothing in the middle of a body.
const stallTimeout = 30 * time.Second

var errStalled = fmt.Errorf("the upstream sent nothing for %v", stallTimeout)

// drain lets a connection be used again if little is left to read.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	_ = resp.Body.Close()
}

// stallGuard closes a body that sends nothing for a while. A read that waits is
// ended by that.
type stallGuard struct {
	io.ReadCloser
	timer *time.Timer
	fired chan struct{}
}

func guard(body io.ReadCloser) *stallGuard {
	g := &stallGuard{ReadCloser: body, fired: make(chan struct{})}
	g.timer = time.AfterFunc(stallTimeout, func() {
		close(g.fired)
		_ = body.Close()
	})
	return g
}

func (g *stallGuard) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		select {
		case <-g.fired:
			err = errStalled
		default:
		}
		return n, err
	}
	g.timer.Reset(stallTimeout)
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
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	size = -1
	var err3 error
	if total != "*" {
		size, err3 = strconv.ParseInt(total, 10, 64)
	}
	if err := errors.Join(err1, err2, err3); err != nil || first < 0 || last < first || size >= 0 && last >= size {
		return 0, 0, 0, fmt.Errorf("Content-Range %.80q makes no sense", s)
	}
	return first, last, size, nil
}
