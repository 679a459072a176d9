package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// dialTimeout bounds one attempt to connect, and the pause after it.
	dialTimeout = 2 * time.Second
	// callTimeout bounds one question to containerd.
	callTimeout = 2 * time.Second
	// readTimeout bounds one ReadAt over the socket.
	readTimeout = 30 * time.Second
	// walkTimeout bounds a listing over the socket.
	walkTimeout = time.Minute
)

// dial connects to containerd's socket. The client's own dialer waits for a
// socket that is not there; each blob would wait with it.
func dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
}

// namespaces returns all namespaces, our own first.
func (s *Store) namespaces(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := s.client.NamespaceService().List(ctx)
	if err != nil {
		return nil, s.explain("namespaces cannot be listed", err)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return name == s.cfg.Namespace })
	return append([]string{s.cfg.Namespace}, all...), nil
}

// openRemote returns a blob that is read over the socket.
func (s *Store) openRemote(ctx context.Context, dgst digest.Digest, names []string) (p2p.Blob, error) {
	for _, name := range names {
		b, err := s.openIn(ctx, name, dgst)
		if err == nil {
			return b, nil
		}
		if !errdefs.IsNotFound(err) {
			return nil, s.explain("blob "+dgst.String(), err)
		}
	}
	return nil, s.explain("blob "+dgst.String(), errdefs.ErrNotFound)
}

func (s *Store) openIn(ctx context.Context, name string, dgst digest.Digest) (p2p.Blob, error) {
	// containerd's reader keeps the context that it was opened with.
	life, cancel := context.WithCancel(namespaces.WithNamespace(context.WithoutCancel(ctx), name))
	stop := context.AfterFunc(ctx, cancel)
	timer := time.AfterFunc(callTimeout, cancel)
	r, err := s.client.ContentStore().ReaderAt(life, ocispec.Descriptor{Digest: dgst})
	if !stop() || !timer.Stop() {
		err = errors.Join(err, context.Cause(ctx), errdefs.ErrUnavailable)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &remoteBlob{r: r, cancel: cancel}, nil
}

// remoteBlob is a blob that is read over the socket.
type remoteBlob struct {
	r      content.ReaderAt
	cancel context.CancelFunc
}

// ReadAt gives the whole blob up if containerd does not answer.
func (b *remoteBlob) ReadAt(p []byte, off int64) (int, error) {
	timer := time.AfterFunc(readTimeout, b.cancel)
	defer timer.Stop()
	return io.NewSectionReader(b.r, 0, b.r.Size()).ReadAt(p, off)
}

func (b *remoteBlob) Size() int64 { return b.r.Size() }

func (b *remoteBlob) Close() error {
	b.cancel()
	return b.r.Close()
}

func (s *Store) walkRemote(ctx context.Context, fn func(dgst digest.Digest, size int64) error) error {
	names, err := s.namespaces(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, walkTimeout)
	defer cancel()
	seen := map[digest.Digest]struct{}{}
	for _, name := range names {
		var stopped error
		err := s.client.ContentStore().Walk(namespaces.WithNamespace(ctx, name), func(info content.Info) error {
			if _, ok := seen[info.Digest]; ok {
				return nil
			}
			seen[info.Digest] = struct{}{}
			stopped = fn(info.Digest, info.Size)
			return stopped
		})
		if stopped != nil {
			return stopped
		}
		if err != nil {
			return s.explain("blobs of namespace "+name+" cannot be listed", err)
		}
	}
	return nil
}

// explain names the store and says what to do when it does not answer.
func (s *Store) explain(what string, err error) error {
	if errdefs.IsUnavailable(err) || errdefs.IsDeadlineExceeded(err) {
		err = fmt.Errorf("%w; check that containerd runs and that containerd.address is right", err)
	}
	return fmt.Errorf("store containerd at %s: %s: %w", s.cfg.Address, what, err)
}
