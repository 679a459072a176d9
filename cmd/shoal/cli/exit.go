package cli

import "fmt"

type exit struct {
	code int
	error
}

func (e *exit) Error() string {
	if e.error == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.error.Error()
}

func (e *exit) Unwrap() error { return e.error }

// misuse is the error of a command that was called wrongly.
func misuse(command string, err error) error {
	if err == nil {
		return nil
	}
	return &exit{exitUsage, fmt.Errorf("%w; see shoal %s --help", err, command)}
}
