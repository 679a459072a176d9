package containerd

import (
	"runtime"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
)

func TestPull(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		for _, unpack := range []bool{false, true} {
			// The registry plays the mirror: every request must come to
			// it, with the registry's name in ns.
			r := newRegistry(t, "team/image:1")
			namespace := map[bool]string{false: "default", true: "k8s.io"}[unpack]
			s := newStore(t, d, namespace, true)
			var last []Progress
			image, err := s.Pull(t.Context(), "registry.example:5000/team/image:1", PullOptions{
				Mirror:      r.host(),
				Unpack:      unpack,
				Snapshotter: "native",
				Progress:    func(p []Progress) { last = p },
			})
			require.NoError(t, err)
			want, err := r.image.Digest()
			require.NoError(t, err)
			require.Equal(t, "registry.example:5000/team/image:1", image.Name)
			require.Equal(t, digest.Digest(want.String()), image.Digest)

			require.Len(t, last, 4, "manifest, config, two layers")
			var total int64
			for _, p := range last {
				require.True(t, p.Done, p.Descriptor.MediaType)
				require.Equal(t, p.Descriptor.Size, p.Offset)
				total += p.Offset
			}
			require.Equal(t, total, image.Size)
			require.NotEmpty(t, r.queries)
			for _, q := range r.queries {
				require.Equal(t, "ns=registry.example%3A5000", q)
			}

			ctx := namespaces.WithNamespace(t.Context(), namespace)
			record, err := d.Client(t).GetImage(ctx, image.Name)
			require.NoError(t, err, "the image record")
			unpacked, err := record.IsUnpacked(ctx, "native")
			require.NoError(t, err)
			require.Equal(t, unpack, unpacked)
			for i := range r.layers {
				dgst, _ := r.layer(t, i)
				b, err := s.Open(t.Context(), dgst)
				require.NoError(t, err)
				require.NoError(t, b.Close())
			}
		}
	})
}

// index is an image for this machine and one for another, under a tag.
func index(t *testing.T, r *stallingRegistry, repository string, other v1.Platform) (here, foreign v1.Image) {
	t.Helper()
	made := func(p v1.Platform) v1.Image {
		img, err := random.Image(1000, 2)
		require.NoError(t, err)
		config, err := img.ConfigFile()
		require.NoError(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture = p.OS, p.Architecture
		img, err = mutate.ConfigFile(img, config)
		require.NoError(t, err)
		return img
	}
	native := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	here, foreign = made(native), made(other)
	all := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: foreign, Descriptor: v1.Descriptor{Platform: &other}},
		mutate.IndexAddendum{Add: here, Descriptor: v1.Descriptor{Platform: &native}})
	tag, err := name.NewTag(r.host() + "/" + repository)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(tag, all, remote.WithTransport(r.Client().Transport)))
	return here, foreign
}

// holds reports whether the store has all blobs of an image.
func holds(t *testing.T, s *Store, img v1.Image) bool {
	t.Helper()
	m, err := img.Manifest()
	require.NoError(t, err)
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		b, err := s.Open(t.Context(), digest.Digest(d.Digest.String()))
		if err != nil {
			require.True(t, errdefs.IsNotFound(err), "%v", err)
			return false
		}
		require.NoError(t, b.Close())
	}
	return true
}

func TestPullOfPlatforms(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		r := newRegistry(t, "single:1") // for this machine
		riscv := v1.Platform{OS: "linux", Architecture: "riscv64"}
		here, foreign := index(t, r, "app:1", riscv)
		const image = "registry.example/app:1"
		ctx := namespaces.WithNamespace(t.Context(), "default")
		s := newStore(t, d, "default", true)
		refused := func(ref string, o PullOptions, want string) {
			t.Helper()
			o.Mirror, o.Snapshotter = r.host(), "native"
			_, err := s.Pull(t.Context(), ref, o)
			require.ErrorContains(t, err, want)
			_, err = d.Client(t).ImageService().Get(ctx, ref)
			require.True(t, errdefs.IsNotFound(err), "no record is left: %v", err)
		}
		refused(image, PullOptions{Platform: "linux/s390x"}, "no manifest for linux/s390x, but for linux/riscv64, linux/"+runtime.GOARCH)
		refused("registry.example/single:1", PullOptions{Platform: "linux/s390x"}, "it is for linux/"+runtime.GOARCH+" alone, not for linux/s390x")

		// A platform that cannot run here: pulled, and unpacked all the same.
		got, err := s.Pull(t.Context(), image, PullOptions{Mirror: r.host(), Platform: "linux/riscv64", Unpack: true, Snapshotter: "native"})
		require.NoError(t, err)
		require.True(t, holds(t, s, foreign))
		require.False(t, holds(t, s, here))
		record, err := d.Client(t).ImageService().Get(ctx, image)
		require.NoError(t, err)
		require.Equal(t, got.Digest, record.Target.Digest)
		unpacked := func(p string) bool {
			ok, err := client.NewImageWithPlatform(d.Client(t), record, platforms.OnlyStrict(platforms.MustParse(p))).IsUnpacked(ctx, "native")
			require.NoError(t, err)
			return ok
		}
		require.True(t, unpacked("linux/riscv64"))

		var last []Progress
		all, err := s.Pull(t.Context(), image, PullOptions{
			Mirror: r.host(), AllPlatforms: true, Unpack: true, Snapshotter: "native",
			Progress: func(p []Progress) { last = p },
		})
		require.NoError(t, err)
		require.Equal(t, got.Digest, all.Digest)
		require.Greater(t, all.Size, got.Size)
		require.Len(t, last, 9, "index, and manifest, config, two layers for both")
		var total int64
		for _, p := range last {
			require.True(t, p.Done)
			total += p.Offset
		}
		require.Equal(t, total, all.Size)
		require.True(t, holds(t, s, here))
		require.True(t, unpacked("linux/"+runtime.GOARCH))
	})
}

func TestPullSaysWhatFailed(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		r := newRegistry(t, "image:1")
		s := newStore(t, d, "default", true)
		_, err := s.Pull(t.Context(), "registry.example/other:1", PullOptions{Mirror: r.host()})
		require.ErrorContains(t, err, "registry.example/other:1")
		require.ErrorContains(t, err, r.host())
		_, err = s.Pull(t.Context(), "Not A Name", PullOptions{Mirror: r.host()})
		require.ErrorContains(t, err, "Not A Name")
	})
}
