package daemon

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// UntilSignal returns a context that ends with ctx, or when the process is told
// to end; from then on, being told again ends the process at once. The returned
// function must be called.
func UntilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, os.Interrupt)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-told:
		case <-ctx.Done():
		}
		signal.Stop(told) // before anybody hears of the end
		cancel()
	}()
	return ctx, func() {
		cancel()
		<-ended
	}
}
