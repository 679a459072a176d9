package containerd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	hostconfig "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// TrialOptions says how [Store.Try] finds its way.
type TrialOptions struct {
	// HostDir is the folder of a registry's hosts.toml, "" for none.
	HostDir func(registry string) (string, error)
	// Credentials returns user and secret for a registry; nil means anonymous.
	Credentials func(registry string) (user, secret string, err error)
}

// Trial is what came of a pull that was tried.
type Trial struct {
	Image string
	// Fetched is how many bytes containerd had to get, Held what it had.
	Fetched, Held int64
	// From is how many bytes of blobs came from each host:port. What the agent
	// wrote into containerd by itself is not among them.
	From map[string]int64
	// Refused is what was wrong with a host, whereupon the next was asked.
	Refused map[string]string
}

const (
	// trialLease outlives any trial: it is for one that is killed.
	trialLease   = time.Hour
	letGoTimeout = 10 * time.Second
	// sample is how much of a layer is read that containerd holds already.
	sample = 1 << 20
)

// Try pulls an image for this machine as containerd itself would, through the
// hosts of its configuration, into its content store. No image is made of it,
// and what was fetched goes again, unless somebody else has come to use it.
//
// If containerd holds all layers already, the beginning of one is read past the
// content store.
func (s *Store) Try(ctx context.Context, ref string, o TrialOptions) (t Trial, err error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return t, fmt.Errorf("image %q: %w", ref, err)
	}
	rec := &recorder{trial: &Trial{Image: named.String(), From: map[string]int64{}, Refused: map[string]string{}}}
	defer func() { t = rec.result() }()
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(ctx, s.cfg.Namespace))
	defer cancel()
	lease, err := s.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(trialLease))
	if err != nil {
		return t, s.explain("lease", err)
	}
	defer s.letGo(ctx, lease)
	ctx = leases.WithLease(ctx, lease.ID)
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: hostconfig.ConfigureHosts(ctx, hostconfig.HostOptions{
		HostDir: o.HostDir, Credentials: o.Credentials, UpdateClient: rec.watch,
	})})
	defer rec.closeIdle()
	name, root, err := resolver.Resolve(ctx, named.String())
	if err != nil {
		return t, err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return t, err
	}
	layers, err := s.fetchAll(ctx, fetcher, root, rec)
	if err != nil || rec.result().Fetched > 0 || len(layers) == 0 {
		return t, err
	}
	small := slices.MinFunc(layers, func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Size, b.Size) })
	rc, err := fetcher.Fetch(ctx, small)
	if err != nil {
		return t, err
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(rc, sample))
	return t, err
}

// letGo has containerd throw away what only the lease kept. Where that fails, the
// lease expires.
func (s *Store) letGo(ctx context.Context, lease leases.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGoTimeout)
	defer cancel()
	_ = s.client.LeasesService().Delete(ctx, lease, leases.SynchronousDelete)
}

// fetchAll brings the image's contents for this machine into the content store,
// and returns its layers.
func (s *Store) fetchAll(ctx context.Context, fetcher remotes.Fetcher, root ocispec.Descriptor, rec *recorder) ([]ocispec.Descriptor, error) {
	store := s.client.ContentStore()
	var mu sync.Mutex
	seen := map[digest.Digest]bool{}
	var layers []ocispec.Descriptor
	look := images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		mu.Lock()
		defer mu.Unlock()
		if seen[desc.Digest] {
			return nil, images.ErrSkipDesc
		}
		seen[desc.Digest] = true
		if !images.IsLayerType(desc.MediaType) {
			return nil, nil
		}
		layers = append(layers, desc)
		_, err := store.Info(ctx, desc.Digest)
		// A blob that only another namespace knows is not fetched either.
		rec.needs(desc.Size, err != nil && !s.holds(desc.Digest))
		return nil, nil
	})
	here := platforms.Default()
	children := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(store), here), here, 1)
	err := images.Dispatch(ctx, images.Handlers(look, remotes.FetchHandler(store, fetcher), children), nil, root)
	return layers, err
}

// holds reports whether the content store has a blob's file, in whatever
// namespace.
func (s *Store) holds(dgst digest.Digest) bool {
	b, err := contentdir.Open(s.cfg.ContentPath, dgst)
	if err == nil {
		_ = b.Close()
	}
	return err == nil
}

// recorder looks on at the requests of a trial.
type recorder struct {
	mu         sync.Mutex
	trial      *Trial
	transports []*http.Transport
}

func (r *recorder) result() Trial {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.trial
}

func (r *recorder) needs(size int64, fetch bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if fetch {
		r.trial.Fetched += size
	} else {
		r.trial.Held += size
	}
}

func (r *recorder) watch(c *http.Client) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t, ok := c.Transport.(*http.Transport); ok {
		r.transports = append(r.transports, t)
	}
	c.Transport = watched{r, c.Transport}
	return nil
}

func (r *recorder) closeIdle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.transports {
		t.CloseIdleConnections()
	}
}

type watched struct {
	r    *recorder
	next http.RoundTripper
}

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	host := req.URL.Host
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	switch {
	case err != nil && req.Context().Err() == nil:
		w.r.trial.Refused[host] = err.Error()
	case err == nil && resp.StatusCode >= 400 && resp.StatusCode != http.StatusUnauthorized:
		w.r.trial.Refused[host] = resp.Status
	case err == nil && req.Method == http.MethodGet && isBlob(req):
		resp.Body = &countedBody{resp.Body, w.r, host}
	}
	return resp, err
}

// isBlob is also true where a redirect of a blob has led to.
func isBlob(req *http.Request) bool {
	for req != nil {
		if strings.Contains(req.URL.Path, "/blobs/") {
			return true
		}
		if req.Response == nil {
			return false
		}
		req = req.Response.Request
	}
	return false
}

type countedBody struct {
	io.ReadCloser
	r    *recorder
	host string
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.r.mu.Lock()
	b.r.trial.From[b.host] += int64(n)
	b.r.mu.Unlock()
	return n, err
}
