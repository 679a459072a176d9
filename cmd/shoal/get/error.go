package get

import (
	"context"
	"errors"
	"fmt"
)

// Kind says which side a download failed on.
type Kind int

// The kinds of errors.
const (
	Other       Kind = iota
	Usage            // what was asked for makes no sense
	Refused          // the source said no: 4xx, or has not what was asked for
	Unreachable      // source or agent could not be reached, failed, or broke off
	Mismatch         // the content has another digest
	Local            // the output could not be written
	Timeout          // it took too long
	Interrupted
)

// Error is why a download failed.
type Error struct {
	Kind Kind
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

func failed(kind Kind, format string, args ...any) *Error {
	return &Error{kind, fmt.Errorf(format, args...)}
}

// KindOf is the kind of err, Other if it has none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Other
}

// ended is why ctx ended.
func ended(ctx context.Context) *Error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return failed(Timeout, "it took longer than the timeout")
	}
	return failed(Interrupted, "interrupted")
}
