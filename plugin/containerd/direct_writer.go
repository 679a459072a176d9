package containerd

import (
	"context"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// message is how much is written at once, in bytes: with fewer, and with
	// many more, containerd is several times slower.
	message = 1 << 20
	// openWriterTimeout and commitTimeout bound one call of containerd.
	openWriterTimeout = 10 * time.Second
	commitTimeout     = time.Minute
	// stalledAfter is how long nothing may come of a layer before its writer is
	// let go: longer than the node waits before it reads from the upstream,
	// and well before kubelet's patience with a pull ends.
	stalledAfter = 30 * time.Second
)

// layer is a layer that is received directly. Its writer belongs to one goroutine.
type layer struct {
	desc   ocispec.Descriptor
	writer content.Writer
	cancel context.CancelFunc // ends the writer's stream
}

// openWriter takes the writer of a layer, under the reference that containerd's
// own fetch asks for. It returns errdefs.ErrUnavailable if somebody else holds it,
// and errdefs.ErrAlreadyExists if the layer is there.
func (s *Store) openWriter(ctx context.Context, l *layer) error {
	life, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(openWriterTimeout, cancel)
	w, err := s.client.ContentStore().Writer(life, content.WithRef(remotes.MakeRefKey(ctx, l.desc)), content.WithDescriptor(l.desc))
	if !timer.Stop() && err == nil {
		err = errdefs.ErrUnavailable
	}
	if err != nil {
		cancel()
		return err
	}
	l.writer, l.cancel = w, cancel
	return nil
}

// letGo closes the writer. What was written stays, for whoever takes it next.
func (l *layer) letGo() {
	_ = l.writer.Close()
	l.cancel()
}

// commit makes the layer a blob. It ends the writer.
func (l *layer) commit(ctx context.Context) error {
	timer := time.AfterFunc(commitTimeout, l.cancel)
	defer timer.Stop()
	return l.writer.Commit(ctx, l.desc.Size, l.desc.Digest)
}

// discard throws away what was written, and ends the writer. A commit of nothing
// is the one message that makes containerd do so at once; it fails.
func (l *layer) discard(ctx context.Context) {
	_ = l.writer.Truncate(0)
	_ = l.commit(ctx)
}

// batch collects pieces to messages. It belongs to one goroutine.
type batch struct {
	w        content.Writer
	bytes    prometheus.Counter // that w took
	buf      []byte
	patience time.Duration
	timer    *time.Timer
	failed   error // of the writer
}

// newBatch calls stalled if neither the swarm nor containerd gets on.
func newBatch(w content.Writer, bytes prometheus.Counter, patience time.Duration, stalled func()) *batch {
	return &batch{w: w, bytes: bytes, buf: make([]byte, 0, message), patience: patience, timer: time.AfterFunc(patience, stalled)}
}

func (b *batch) Write(p []byte) (written int, err error) {
	b.timer.Reset(b.patience)
	for len(p) > 0 {
		n := copy(b.buf[len(b.buf):cap(b.buf)], p)
		b.buf, p, written = b.buf[:len(b.buf)+n], p[n:], written+n
		if len(b.buf) == cap(b.buf) {
			if err := b.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (b *batch) flush() error {
	if _, b.failed = b.w.Write(b.buf); b.failed == nil {
		b.bytes.Add(float64(len(b.buf)))
	}
	b.buf = b.buf[:0]
	b.timer.Reset(b.patience)
	return b.failed
}

func (b *batch) end() { b.timer.Stop() }
