package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// output is where content goes.
type output interface {
	io.Writer
	// name is what it is called on a terminal.
	name() string
	// named hears how the source calls the file.
	named(string) error
	// expect hears what the next bytes are of, and where the output has bytes
	// already, that these are of the same.
	expect(content) error
	// restart empties it.
	restart() error
	// finish shows the output, which is whole. One of finish, keep and discard is
	// called at the end.
	finish() error
	// keep leaves what is there for the next time. It says whether there is
	// something.
	keep() bool
	// discard removes what is there, since it is wrong.
	discard()
}

// local is a failure of the machine's own files.
func local(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("%w: make room", err)
	case errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: make room, or ask for a larger quota", err)
	case errors.Is(err, syscall.EFBIG):
		err = fmt.Errorf("%w: the file system or ulimit -f allows no such file", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("%w: choose another place with -o", err)
	}
	return &Error{Local, err}
}

// place is the meaning of -o.
type place struct {
	dir    string
	base   string // "": to be found
	stream bool   // not a file that could be replaced: - or a device, pipe or socket
}

// find says where -o leads. It makes a folder that ends in a slash.
func find(output string) (place, error) {
	switch {
	case output == "":
		return place{dir: "."}, nil
	case output == "-" || output == "/dev/stdout":
		return place{base: "-", stream: true}, nil
	case strings.HasSuffix(output, "/"):
		if err := os.MkdirAll(output, 0o777); err != nil {
			return place{}, local(err)
		}
		return place{dir: output}, nil
	}
	info, err := os.Stat(output)
	switch {
	case err == nil && info.IsDir():
		return place{dir: output}, nil
	case err == nil && !info.Mode().IsRegular():
		return place{base: output, stream: true}, nil
	case err == nil: // what a symbolic link leads to is replaced, not the link
		if output, err = filepath.EvalSymlinks(output); err != nil {
			return place{}, local(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return place{}, local(err)
	default:
		if _, err := os.Lstat(output); err == nil {
			return place{}, failed(Local, "%s is a symbolic link that leads nowhere", output)
		}
	}
	return place{dir: filepath.Dir(output), base: filepath.Base(output)}, nil
}

// Holds says whether an output, as of -o, can hold the files of so many URLs.
func Holds(output string, urls int) bool {
	if urls < 2 || output == "" || output == "-" || strings.HasSuffix(output, "/") {
		return true
	}
	info, err := os.Stat(output)
	return err == nil && !info.Mode().IsRegular()
}

// stream is an output whose bytes cannot be taken back.
type stream struct {
	io.Writer
	label string
	close func() error // may be nil
	begun bool
}

// openStream opens a device or a pipe. A pipe without a reader is waited for.
func openStream(ctx context.Context, path string) (*stream, error) {
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return &stream{Writer: f, label: path, close: f.Close}, nil
		}
		info, serr := os.Stat(path)
		if !errors.Is(err, syscall.ENXIO) || serr != nil || info.Mode()&fs.ModeNamedPipe == 0 {
			return nil, local(err)
		}
		select {
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *stream) Write(b []byte) (int, error) {
	s.begun = true
	return s.Writer.Write(b)
}

func (s *stream) name() string         { return s.label }
func (s *stream) named(string) error   { return nil }
func (s *stream) expect(content) error { return nil }

// errGone: bytes have been written where they cannot be taken back.
var errGone = errors.New("what was written cannot be taken back")

func (s *stream) restart() error {
	if s.begun {
		return errGone
	}
	return nil
}

func (s *stream) finish() error {
	if s.close == nil {
		return nil
	}
	if err := s.close(); err != nil {
		return local(err)
	}
	return nil
}

func (s *stream) keep() bool {
	_ = s.finish()
	return false
}

func (s *stream) discard() { _ = s.finish() }

var _ output = (*stream)(nil)
