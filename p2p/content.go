package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shoal-p2p/shoal/internal/metrics"
)

// Content is one client's hold on a blob. A fill goes on while anyone holds it.
// It belongs to one goroutine.
type Content struct {
	n    *Node
	size int64
	blob Blob  // out of the store; nil while the blob is filled
	task *task // nil out of the store

	cursor int      // first piece that this client may still read; guarded by n.mu
	file   *os.File // this client's own descriptor of the backing file
}

// stride is how many bytes are copied between looks at the context.
const stride = 4 << 20

// Size is the size of the blob in bytes.
func (c *Content) Size() int64 { return c.size }

// Ready waits until the byte at offset can be copied, so that an error can
// still become a status code. offset may be Size only if that is 0.
func (c *Content) Ready(ctx context.Context, offset int64) error {
	if c.task == nil || c.size == 0 && offset == 0 {
		return c.readyWhole(ctx)
	}
	if offset < 0 || offset >= c.size {
		return fmt.Errorf("p2p: offset %d is outside the blob's %d bytes", offset, c.size)
	}
	t := c.task
	i := t.layout.Index(offset)
	c.seek(i)
	return c.await(ctx, func() bool { return t.readable(i) })
}

// readyWhole waits for the check of an empty blob; a blob out of the store is
// ready.
func (c *Content) readyWhole(ctx context.Context) error {
	if c.task == nil {
		return nil
	}
	return c.await(ctx, func() bool { return c.task.whole })
}

func (c *Content) await(ctx context.Context, ready func() bool) error {
	t := c.task
	failed := error(nil)
	err := t.wait(ctx, func() bool {
		if ready() {
			return true
		}
		failed = t.err
		return failed != nil
	})
	return errors.Join(err, failed)
}

// seek says where the client reads, so that the window is there.
func (c *Content) seek(i int) {
	t := c.task
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	if c.cursor != i {
		c.cursor = i
		t.rewindow()
		t.notify()
	}
}

// CopyRange writes length bytes from offset to w, each one verified. It returns
// how many it wrote. w may be an http.ResponseWriter: then sendfile is used
// where the bytes lie in a file.
func (c *Content) CopyRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	if offset < 0 || length < 0 || offset+length > c.size {
		return 0, fmt.Errorf("p2p: bytes %d to %d are outside the blob's %d", offset, offset+length, c.size)
	}
	written := int64(0)
	for written < length {
		n, err := c.copySome(ctx, w, offset+written, length-written)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// copySome writes at least one and at most length bytes from offset to w.
func (c *Content) copySome(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	if c.task == nil {
		n, err := c.copyBacking(w, c.blob, offset, min(length, stride))
		c.n.count(metrics.SourceStore, int(n))
		if err == nil {
			err = ctx.Err()
		}
		return n, err
	}
	t := c.task
	i := t.layout.Index(offset)
	end := t.layout.End(i)
	c.seek(i)
	if err := c.await(ctx, func() bool { return t.readable(i) && !t.nearlyBacked(i) }); err != nil {
		return 0, err
	}
	t.n.mu.Lock()
	if t.err != nil { // what it held is gone
		defer t.n.mu.Unlock()
		return 0, t.err
	}
	if t.backed(i) {
		// What lies in the store is sent from there, as much as there is.
		for end < offset+length && end-offset < stride && t.readable(t.layout.Index(end)) && t.backed(t.layout.Index(end)) {
			end = t.layout.End(t.layout.Index(end))
		}
		backing := t.backing()
		t.n.mu.Unlock()
		return c.copyBacking(w, backing, offset, min(end-offset, length))
	}
	b := t.bufs[i]
	if b == nil { // let go since, or lost by who stores it: ask for it again
		t.loseFrom(i)
		t.n.mu.Unlock()
		return 0, nil
	}
	b.hold()
	t.n.mu.Unlock()
	defer b.release()
	from := offset - t.layout.Offset(i)
	n, err := w.Write(b.data[from : from+min(end-offset, length)])
	return int64(n), err
}

// nearlyBacked reports whether piece i will lie in the store in a moment, from
// where it is sent without passing through this process. The first pieces are
// not waited for, and none while the store lags behind.
func (t *task) nearlyBacked(i int) bool {
	const lag = 4
	return i >= lag && t.keeps && i >= t.written && i < t.written+lag
}

// backing is where pieces are read back from. Callers hold n.mu.
func (t *task) backing() readerAt {
	if t.blob != nil {
		return t.blob
	}
	return t.ingest
}

func (c *Content) copyBacking(w io.Writer, r readerAt, offset, length int64) (int64, error) {
	if c.file == nil {
		c.file = reopen(r)
	}
	return copyAt(w, r, c.file, offset, length)
}

// Close lets go of the blob.
func (c *Content) Close() error {
	if c.file != nil {
		_ = c.file.Close()
	}
	if c.task != nil {
		t := c.task
		t.n.mu.Lock()
		defer t.n.mu.Unlock()
		delete(t.contents, c)
		t.used = time.Now()
		t.rewindow()
		t.notify()
	}
	if c.blob != nil {
		return c.blob.Close()
	}
	return nil
}
