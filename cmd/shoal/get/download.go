package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// buffer is how much is read at once, in bytes.
const buffer = 256 << 10

// download brings the content of one URL into an output.
type download struct {
	o     Options
	brake *brake
	url   *url.URL
	out   output
	sums  *sums

	vouched bool // the engine hears which digest the file shall have

	// What the output has.
	content content
	offset  int64
	reached int64 // the furthest offset of this run
	result  Result
}

// run asks until the content is there. An error that another try may mend is
// answered with one, after a pause that doubles as long as nothing comes.
func (d *download) run(ctx context.Context) error {
	changed := false
	d.vouched = d.o.Range == Range{}
	for tries := 0; ; tries++ {
		reached := d.reached
		err := d.attempt(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if errors.Is(err, errChanged) && !changed { // what was there is gone: now it is asked for all
			changed = true
			continue
		}
		var r *refusal
		if errors.As(err, &r) && r.status == http.StatusBadGateway && d.vouched && d.digest() != "" {
			// An engine gives out no file with another digest. Whether it is that, its
			// bytes will tell.
			d.vouched = false
			continue
		}
		if d.reached > reached {
			tries = 0
		}
		pause, ok := d.pause(err, tries)
		if !ok {
			return err
		}
		d.o.Watch.Note(fmt.Sprintf("%v; trying again in %v", err, pause.Round(time.Millisecond)))
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(pause):
		}
	}
}

// maxPause bounds the pauses between tries.
const maxPause = 30 * time.Second

// pause is how long to wait before the next try, if there is to be one.
func (d *download) pause(err error, tries int) (time.Duration, bool) {
	if tries >= d.o.Retries {
		return 0, false
	}
	pause := min(min(d.o.RetryDelay, maxPause)<<min(tries, 20), maxPause)
	var r *refusal
	switch {
	case errors.As(err, &r):
		return max(pause, r.again), r.again >= 0
	case errors.As(err, new(*broken)):
		return pause, true
	}
	return 0, false
}

// broken is a failure of the way, which another try may mend.
type broken struct{ error }

func (b *broken) Unwrap() error { return b.error }

func lost(err error) error {
	if errors.Is(err, errStalled) {
		return &broken{&Error{Timeout, err}}
	}
	return &broken{&Error{Unreachable, err}}
}

// attempt asks once for what is missing.
func (d *download) attempt(ctx context.Context) error {
	if d.offset > 0 && d.content.Validator == "" {
		if err := d.restart("it has neither ETag nor Last-Modified, by which it could be continued"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := newWatchdog(d.o.Stall, cancel)
	defer dog.rest()
	dog.watch()
	resp, err := d.ask(ctx)
	dog.rest()
	if err != nil {
		return d.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	var got answered
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.offset > 0: // the file has become shorter
		err = errChanged
	case resp.StatusCode >= 300:
		err = refused(resp, time.Now())
	default:
		got, err = read(resp, d.o.Range, d.offset, d.content)
	}
	if errors.Is(err, errChanged) {
		if err := d.restart(errChanged.Error()); err != nil {
			return err
		}
		return lost(errChanged)
	}
	if err != nil {
		return err
	}
	if err := d.begin(got, resp.Header); err != nil {
		return err
	}
	return d.copy(ctx, resp.Body, got.skip, dog)
}

// unanswered is the error of a request that got no answer.
func (d *download) unanswered(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*Error](err); ok { // ours
		return e
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return lost(fmt.Errorf("no answer: %w", err))
}

// restart makes the next attempt ask for all of the content.
func (d *download) restart(why string) error {
	err := d.out.restart()
	if errors.Is(err, errGone) {
		return failed(Unreachable, "broken off after %d bytes, and %s: %w", d.offset, why, err)
	}
	if err != nil {
		return err
	}
	d.offset, d.content = 0, content{}
	d.sums.reset()
	return nil
}

// begin prepares the output for what comes.
func (d *download) begin(got answered, h http.Header) error {
	if got.fresh && d.offset > 0 {
		if err := d.restart(errChanged.Error()); err != nil {
			return err
		}
	}
	d.content = got.content
	if name := attached(h.Get("Content-Disposition")); name != "" {
		if err := d.out.named(name); err != nil {
			return err
		}
	}
	if err := d.out.expect(d.content); err != nil {
		return err
	}
	if text := warning(h); text != "" && !d.result.Stale {
		d.result.Stale = true
		d.o.Watch.Note(text)
	}
	d.result.Task = h.Get("Shoal-Task")
	d.o.Watch.Started(d.out.name(), d.content.Size, d.offset, d.result.Task)
	return nil
}

// copy brings the body into the output, but for its first skip bytes.
func (d *download) copy(ctx context.Context, body io.Reader, skip int64, dog *watchdog) error {
	buf := d.brake.fit(make([]byte, buffer))
	for d.content.Size < 0 || d.offset < d.content.Size {
		dog.watch()
		n, rerr := body.Read(buf)
		dog.rest()
		if err := d.brake.wait(ctx, n); err != nil {
			return err
		}
		came := buf[:n]
		drop := min(skip, int64(n))
		came, skip = came[drop:], skip-drop
		if d.content.Size >= 0 {
			came = came[:min(int64(len(came)), d.content.Size-d.offset)]
		}
		if werr := d.write(came); werr != nil {
			return werr
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			if cause := context.Cause(ctx); cause != nil {
				rerr = cause
			}
			return lost(fmt.Errorf("broken off after %d bytes: %w", d.offset, rerr))
		}
	}
	if skip > 0 || d.offset < d.content.Size {
		return lost(fmt.Errorf("broken off after %d bytes: %w", d.offset, io.ErrUnexpectedEOF))
	}
	return nil
}

func (d *download) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := d.out.Write(b); err != nil {
		return local(err)
	}
	_, _ = d.sums.Write(b)
	d.offset += int64(len(b))
	d.result.Came += int64(len(b))
	d.reached = max(d.reached, d.offset)
	d.o.Watch.Moved(d.offset)
	return nil
}
