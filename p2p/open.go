package p2p

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// Stat returns the size of a blob that the store holds whole, or that a fill
// knows.
func (n *Node) Stat(ctx context.Context, dgst digest.Digest) (size int64, ok bool) {
	n.mu.Lock()
	if t := n.tasks[dgst.String()]; t != nil && t.known && t.err == nil {
		n.mu.Unlock()
		return t.layout.Size, true
	}
	n.mu.Unlock()
	b, err := n.cfg.Store.Open(ctx, dgst)
	if err != nil {
		return 0, false
	}
	defer b.Close()
	return b.Size(), true
}

// Open returns the blob: from the store if it holds it, else from the node's
// one fill for that digest, which is joined or started with src as a way to the
// upstream. It returns when the size is known. Errors are *oci.Error where a
// registry or the swarm said no. The caller closes the content.
func (n *Node) Open(ctx context.Context, dgst digest.Digest, src Source) (*Content, error) {
	b, err := n.cfg.Store.Open(ctx, dgst)
	if err == nil {
		return &Content{n: n, size: b.Size(), blob: b}, nil
	}
	if !errdefs.IsNotFound(err) { // a client can be served all the same
		log.G(ctx).WithError(err).WithField("blob", dgst).Warn("the store cannot be read; streaming the blob past it")
	}
	n.mu.Lock()
	t, err := n.fill(dgst, src)
	if err != nil {
		n.mu.Unlock()
		return nil, err
	}
	c := &Content{n: n, task: t}
	t.contents[c] = struct{}{}
	t.used = time.Now()
	t.rewindow() // nothing is asked for while nobody reads
	t.notify()
	n.mu.Unlock()
	if err := c.await(ctx, func() bool { return t.known }); err != nil {
		_ = c.Close()
		return nil, err
	}
	c.size = t.layout.Size
	return c, nil
}

// Begin starts the fill of a blob that somebody will soon [Node.Open], or joins
// it, if the store keeps blobs and does not hold this one.
func (n *Node) Begin(dgst digest.Digest, src Source) {
	if !n.cfg.Store.Writes() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spawn(func() {
		ctx, cancel := context.WithTimeout(n.life(), openTimeout)
		defer cancel()
		if b, err := n.cfg.Store.Open(ctx, dgst); err == nil {
			_ = b.Close()
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		_, _ = n.fill(dgst, src) // who asks for the blob learns what is wrong
	})
}

// obtain returns the task for a blob out of the store, or its fill.
func (n *Node) obtain(ctx context.Context, dgst digest.Digest, src Source) (*task, error) {
	n.mu.Lock()
	if t := n.tasks[dgst.String()]; t != nil && t.err == nil {
		t.addSource(src)
		n.mu.Unlock()
		return t, nil
	}
	n.mu.Unlock()
	b, err := n.cfg.Store.Open(ctx, dgst)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch t := n.tasks[dgst.String()]; {
	case err != nil && !errdefs.IsNotFound(err):
		return nil, err
	case err != nil:
		return n.fill(dgst, src)
	case t != nil && t.err == nil || n.stopped:
		_ = b.Close()
		return n.fill(dgst, src)
	}
	return n.serve(dgst, b), nil
}

// fill joins or starts the fill of a blob. Callers hold n.mu.
func (n *Node) fill(dgst digest.Digest, src Source) (*task, error) {
	if n.stopped {
		return nil, oci.Errorf(oci.SideStore, http.StatusServiceUnavailable, oci.CodeUnavailable, "the node is stopping")
	}
	if t := n.tasks[dgst.String()]; t != nil {
		if t.err == nil {
			t.addSource(src)
			return t, nil
		}
		// Wrong bytes stay wrong for a while; anything else is tried afresh.
		if e := asOCI(t.err); e != nil && e.Code == oci.CodeDigestInvalid && time.Since(t.ended) < failedAfter {
			return nil, t.err
		}
	}
	t := n.newTask(dgst)
	t.addSource(src)
	n.fills++
	n.start(t)
	n.join(t)
	return t, nil
}

func (n *Node) newTask(dgst digest.Digest) *task {
	ctx, cancel := context.WithCancel(n.life())
	now := time.Now()
	t := &task{
		n: n, dgst: dgst, id: dgst.String(), ctx: ctx, cancel: cancel,
		bufs: map[int]*buffer{}, contents: map[*Content]struct{}{}, peers: map[string]string{},
		awaiting: map[*neighbour]struct{}{}, entries: map[*neighbour]struct{}{}, changed: make(chan struct{}),
		used: now, started: now, progress: now, fed: now,
	}
	n.tasks[t.id] = t
	return t
}

func (n *Node) start(t *task) { n.spawn(t.run) }

// spawn runs f in a goroutine that Run waits for. It reports whether the node
// still starts any. Callers hold n.mu.
func (n *Node) spawn(f func()) bool {
	if !n.stopped {
		n.wg.Go(f)
	}
	return !n.stopped
}

// maxSources bounds the credentials kept for one blob.
const maxSources = 8

// addSource adds a way to the upstream, the newest last.
func (t *task) addSource(src Source) {
	if src == nil {
		return
	}
	o := src.Origin()
	kept := t.sources[:0:0]
	for _, s := range t.sources {
		if s.Origin() != o {
			kept = append(kept, s)
		}
	}
	t.sources = append(kept, src)
	if len(t.sources) > maxSources {
		t.sources = t.sources[1:]
	}
}

func asOCI(err error) *oci.Error {
	var e *oci.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
