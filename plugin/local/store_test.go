package local

import (
	"bytes"
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/testsuite"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		s := newStore(t, Config{})
		return storetest.Fixture{
			Store: s,
			Put: func(t *testing.T, dgst digest.Digest, blob []byte) {
				require.NoError(t, content.WriteBlob(t.Context(), s.Content(), "put", bytes.NewReader(blob),
					ocispec.Descriptor{Digest: dgst, Size: int64(len(blob))}))
			},
			Reopen: func(t *testing.T) p2p.Store {
				require.NoError(t, s.Close())
				return newStore(t, Config{Dir: s.dir})
			},
		}
	})
}

func TestContainerdConformance(t *testing.T) {
	testsuite.ContentSuite(t, "local", func(ctx context.Context, root string) (context.Context, content.Store, func() error, error) {
		s, err := New(Config{Dir: root})
		if err != nil {
			return nil, nil, nil, err
		}
		return ctx, s.Content(), s.Close, nil
	})
}
