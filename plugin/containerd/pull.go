package containerd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/internal/imagepull"
)

// progressEvery is how often PullOptions.Progress is called.
const progressEvery = 100 * time.Millisecond

// PullOptions says how to pull an image.
type PullOptions struct {
	// Mirror is the host:port of the agent's mirror; all bytes come from it.
	Mirror string
	// Platform is e.g. "linux/arm64"; "" means this machine's.
	Platform string
	// AllPlatforms pulls what the image has for every platform.
	AllPlatforms bool
	// Unpack makes a snapshot of the image for Platform, ready to run.
	Unpack bool
	// Snapshotter unpacks; "" means containerd's default.
	Snapshotter string
	// Credentials returns user and secret for a registry, as its name stands
	// in the image's name; nil means anonymous.
	Credentials func(registry string) (user, secret string, err error)
	// Progress is told now and then, from one goroutine, how far the image's
	// contents are, in the order in which they were begun, and once more
	// before Pull returns without an error. The slice is its own to keep.
	Progress func([]Progress)
}

// Progress is how far one manifest, config or layer is.
type Progress struct {
	Descriptor ocispec.Descriptor
	Offset     int64 // bytes received
	Done       bool
}

// Image is a pulled image.
type Image struct {
	Name   string // in full, as containerd has it
	Digest digest.Digest
	Size   int64 // bytes of what was wanted of it
}

// Pull makes containerd hold an image, with all bytes from the mirror. Short
// names are completed as Docker does ("alpine" is
// "docker.io/library/alpine:latest").
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (Image, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return Image{}, fmt.Errorf("image %q: %w", ref, err)
	}
	ctx = namespaces.WithNamespace(ctx, s.cfg.Namespace)
	what := "image " + named.String() + " from mirror " + o.Mirror
	source, err := imagepull.Open(ctx, named, imagepull.Options{
		Mirror: o.Mirror, Platform: o.Platform, AllPlatforms: o.AllPlatforms, Runs: o.Unpack, Credentials: o.Credentials,
	})
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", what, err)
	}
	defer source.Close()
	if err := source.Check(ctx); err != nil {
		return Image{}, fmt.Errorf("%s: %w", what, err)
	}
	image, err := s.pull(ctx, named, source, o)
	if err != nil {
		return Image{}, s.explain(what, err)
	}
	return image, nil
}

func (s *Store) pull(ctx context.Context, named reference.Named, source *imagepull.Source, o PullOptions) (Image, error) {
	opts := []client.RemoteOpt{client.WithResolver(source)}
	p := &progress{store: s.client.ContentStore(), tell: o.Progress}
	if o.Progress != nil {
		opts = append(opts, client.WithImageHandler(images.HandlerFunc(p.begin)))
		p.start(ctx)
	}
	var image client.Image
	var err error
	if o.AllPlatforms {
		image, err = s.pullAll(ctx, named, o, opts)
	} else {
		image, err = s.pullOne(ctx, named, o, opts)
	}
	if o.Progress != nil {
		p.stop(ctx, err == nil)
	}
	if err != nil {
		return Image{}, err
	}
	got := Image{Name: image.Name(), Digest: image.Target().Digest}
	if o.AllPlatforms {
		got.Size, err = image.Usage(ctx)
	} else {
		got.Size, err = image.Size(ctx)
	}
	return got, err
}

func (s *Store) pullOne(ctx context.Context, named reference.Named, o PullOptions, opts []client.RemoteOpt) (client.Image, error) {
	if o.Platform != "" {
		opts = append(opts, client.WithPlatform(o.Platform))
	}
	if o.Unpack {
		opts = append(opts, client.WithPullUnpack)
	}
	if o.Snapshotter != "" {
		opts = append(opts, client.WithPullSnapshotter(o.Snapshotter))
	}
	return s.client.Pull(ctx, named.String(), opts...)
}

// pullAll unpacks for this machine alone: the others are there to be passed on.
func (s *Store) pullAll(ctx context.Context, named reference.Named, o PullOptions, opts []client.RemoteOpt) (client.Image, error) {
	record, err := s.client.Fetch(ctx, named.String(), opts...)
	if err != nil {
		return nil, err
	}
	image := client.NewImage(s.client, record)
	if o.Unpack {
		if err := image.Unpack(ctx, o.Snapshotter); err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
	}
	return image, nil
}

// progress follows a pull from the outside: which contents it has begun, and
// how much of them containerd has.
type progress struct {
	store content.Store
	tell  func([]Progress)

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu   sync.Mutex
	all  []Progress
	seen map[digest.Digest]bool
}

func (p *progress) begin(_ context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.seen[desc.Digest] {
		if p.seen == nil {
			p.seen = map[digest.Digest]bool{}
		}
		p.seen[desc.Digest] = true
		p.all = append(p.all, Progress{Descriptor: desc})
	}
	return nil, nil
}

func (p *progress) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.ended.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.report(ctx)
			}
		}
	})
}

// stop ends the reports, with a last one if the pull went well.
func (p *progress) stop(ctx context.Context, ok bool) {
	p.cancel()
	p.ended.Wait()
	if ok {
		p.report(ctx)
	}
}

func (p *progress) report(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	statuses, err := p.store.ListStatuses(ctx)
	if err != nil {
		return // the pull itself says what is wrong
	}
	offsets := map[string]int64{}
	for _, s := range statuses {
		offsets[s.Ref] = s.Offset
	}
	p.mu.Lock()
	now := append([]Progress(nil), p.all...)
	p.mu.Unlock()
	for k := range now {
		c := &now[k]
		if c.Done {
			continue
		}
		if offset, ok := offsets[remotes.MakeRefKey(ctx, c.Descriptor)]; ok {
			c.Offset = offset
		} else if _, err := p.store.Info(ctx, c.Descriptor.Digest); err == nil {
			c.Offset, c.Done = c.Descriptor.Size, true
		}
	}
	p.mu.Lock()
	copy(p.all, now) // contents are only ever added behind
	p.mu.Unlock()
	p.tell(now)
}
