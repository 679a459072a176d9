package p2p

import (
	"context"
	"io"
	"os"

	"github.com/containerd/errdefs"
)

type readerAt = io.ReaderAt

func readFullAt(r readerAt, p []byte, off int64) (int, error) {
	return io.ReadFull(io.NewSectionReader(r, off, int64(len(p))), p)
}

// passing is the ingest of a blob that is not kept. Where a store failed half-way,
// before gives back what it had.
type passing struct {
	offset int64
	before Ingest
	kept   int64 // bytes that before can give back
}

func (p *passing) Write(b []byte) (int, error) {
	p.offset += int64(len(b))
	return len(b), nil
}

func (p *passing) ReadAt(b []byte, off int64) (int, error) {
	if p.before == nil {
		return 0, errdefs.ErrUnavailable
	}
	return p.before.ReadAt(b, off)
}

func (p *passing) File() *os.File {
	if f, ok := p.before.(Filer); ok {
		return f.File()
	}
	return nil
}

func (p *passing) Offset() int64                { return p.offset }
func (p *passing) Available() int64             { return p.kept }
func (p *passing) Commit(context.Context) error { return errdefs.ErrUnavailable }

func (p *passing) Truncate() error {
	p.offset, p.kept = 0, 0
	if p.before != nil {
		return p.before.Truncate()
	}
	return nil
}

func (p *passing) Close() error {
	if p.before != nil {
		return p.before.Close()
	}
	return nil
}

// committed is the ingest of a blob that the store turned out to have.
type committed struct{ Blob }

func (c *committed) Write([]byte) (int, error)    { return 0, errdefs.ErrAlreadyExists }
func (c *committed) Offset() int64                { return c.Size() }
func (c *committed) Available() int64             { return c.Size() }
func (c *committed) Commit(context.Context) error { return nil }
func (c *committed) Truncate() error              { return errdefs.ErrFailedPrecondition }

func (c *committed) File() *os.File {
	if f, ok := c.Blob.(Filer); ok {
		return f.File()
	}
	return nil
}
