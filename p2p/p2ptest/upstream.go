package p2ptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/p2p"
)

// Upstream is a registry of blobs in memory that counts what it sends and fails
// on demand. It is a source for any of its blobs.
type Upstream struct {
	mu     sync.Mutex
	blobs  map[digest.Digest][]byte
	refuse *oci.Error
	cutAt  int           // bytes after which every body breaks off; 0: never
	hold   chan struct{} // bodies stop at holdAt until it is closed
	holdAt int
	opened atomic.Int64
	sent   atomic.Int64
	reach  func() // says that a body came to holdAt
}

// Add puts a blob that is asked for as dgst; the bytes may be wrong.
func (u *Upstream) Add(dgst digest.Digest, data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.blobs == nil {
		u.blobs = map[digest.Digest][]byte{}
	}
	u.blobs[dgst] = data
}

// Refuse makes every request fail; nil ends that.
func (u *Upstream) Refuse(err *oci.Error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refuse = err
}

// CutAfter makes every body break off after n bytes; 0 ends that.
func (u *Upstream) CutAfter(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cutAt = n
}

// HoldAt makes bodies stop at byte n until release is called. reached is closed
// when the first one gets there.
func (u *Upstream) HoldAt(n int) (reached <-chan struct{}, release func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	hold, came := make(chan struct{}), make(chan struct{})
	u.hold, u.holdAt, u.reach = hold, n, sync.OnceFunc(func() { close(came) })
	return came, sync.OnceFunc(func() { close(hold) })
}

// Sent is how many bytes of blobs have gone out.
func (u *Upstream) Sent() int64 { return u.sent.Load() }

// Opened is how many requests came.
func (u *Upstream) Opened() int64 { return u.opened.Load() }

// Source returns the way to a blob, as somebody with that Authorization.
func (u *Upstream) Source(dgst digest.Digest, authorization string) p2p.Source {
	return &source{u: u, dgst: dgst, origin: p2p.Origin{Registry: "registry.example", Repository: "library/app", Authorization: authorization}}
}

type source struct {
	u      *Upstream
	dgst   digest.Digest
	origin p2p.Origin
}

func (s *source) Origin() p2p.Origin { return s.origin }

func (s *source) Open(ctx context.Context, offset, end int64) (io.ReadCloser, int64, error) {
	u := s.u
	u.opened.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	data, ok := u.blobs[s.dgst]
	switch {
	case u.refuse != nil:
		return nil, 0, u.refuse
	case !ok:
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusNotFound, oci.CodeBlobUnknown, "blob %s is not in %s", s.dgst, s.origin)
	}
	if end == 0 {
		end = int64(len(data))
	}
	return &body{ctx: ctx, u: u, r: bytes.NewReader(data[offset:end]), at: int(offset), cut: u.cutAt}, int64(len(data)), nil
}

type body struct {
	ctx context.Context
	u   *Upstream
	r   *bytes.Reader
	at  int // in the blob
	cut int // bytes left to send, if positive
}

func (b *body) Close() error { return nil }

func (b *body) Read(p []byte) (int, error) {
	b.u.mu.Lock()
	hold, holdAt, reach := b.u.hold, b.u.holdAt, b.u.reach
	b.u.mu.Unlock()
	if hold != nil && b.at < holdAt {
		p = p[:min(len(p), holdAt-b.at)]
	} else if hold != nil {
		reach()
		select {
		case <-hold:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	if b.cut > 0 {
		p = p[:min(len(p), b.cut)]
	}
	n, err := b.r.Read(p)
	b.at += n
	b.u.sent.Add(int64(n))
	if b.cut > 0 {
		if b.cut -= n; b.cut == 0 {
			return n, errors.New("connection reset")
		}
	}
	return n, err
}
