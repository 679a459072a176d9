package get

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStalled: nothing came for Options.Stall.
var errStalled = errors.New("nothing came")

// watchdog ends an attempt in which nothing comes while it watches.
type watchdog struct {
	patience time.Duration // 0: without end
	timer    *time.Timer
}

func newWatchdog(patience time.Duration, end context.CancelCauseFunc) *watchdog {
	timer := time.AfterFunc(time.Hour, func() { end(fmt.Errorf("%w for %v", errStalled, patience)) })
	timer.Stop()
	return &watchdog{patience, timer}
}

func (w *watchdog) watch() {
	if w.patience > 0 {
		w.timer.Reset(w.patience)
	}
}

func (w *watchdog) rest() { w.timer.Stop() }
