package containerd

import (
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
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
