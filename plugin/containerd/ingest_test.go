package containerd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/p2p/storetest"
	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// TestLooksOnWhileContainerdPulls pulls with ctr from a registry that stops in
// the middle of a layer. "images pull" is the daemon's own work from 2.0 on;
// "content fetch" is ctr's, over the socket.
func TestLooksOnWhileContainerdPulls(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		for _, verb := range [][]string{{"images", "pull"}, {"content", "fetch"}} {
			t.Run(verb[0], func(t *testing.T) { looksOn(t, d, verb) })
		}
	})
}

func looksOn(t *testing.T, d *containerdtest.Daemon, verb []string) {
	r := newRegistry(t, "image:1")
	s := newStore(t, d, "default", true)
	dgst, blob := r.layer(t, 0)
	gate := r.stall(dgst)
	opened, err := s.Ingest(t.Context(), dgst, int64(len(blob)))
	require.NoError(t, err)
	defer opened.Close()
	in := opened.(*ingest)
	require.Zero(t, in.Available())
	require.Nil(t, in.File())

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	ctr := d.Ctr(ctx, "default", append(verb, "--plain-http", r.host()+"/image:1")...)
	ctr.Stdout, ctr.Stderr = &out, &out
	pulled := make(chan error, 1)
	go func() { pulled <- ctr.Run() }()

	const half = layerSize / 2
	for in.Available() < half {
		select {
		case err := <-pulled:
			require.FailNow(t, "ctr ended too soon", "%v: %s", err, &out)
		case <-ctx.Done():
			require.FailNow(t, "not seen to grow", "%d bytes of %d; ingests: %q", in.Available(), half, references(t, s))
		case <-time.After(5 * time.Millisecond):
		}
	}
	require.EqualValues(t, half, in.Available())
	got := make([]byte, half)
	_, err = in.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(blob[:half], got))
	file := in.File()
	require.NotNil(t, file)
	require.Contains(t, references(t, s), "default/1/layer-"+dgst.String())
	require.True(t, errdefs.IsUnavailable(in.Commit(t.Context())))

	close(gate)
	require.NoError(t, <-pulled, "ctr says: %s", &out)
	require.NoError(t, in.Commit(t.Context()))
	require.EqualValues(t, len(blob), in.Available())
	got = make([]byte, len(blob))
	_, err = in.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(blob, got))
	_, err = file.ReadAt(got, 0)
	require.NoError(t, err, "the descriptor outlives the commit")
	require.True(t, bytes.Equal(blob, got))
}

func references(t *testing.T, s *Store) (refs []string) {
	t.Helper()
	all, err := contentdir.Ingests(s.cfg.ContentPath)
	require.NoError(t, err)
	for _, in := range all {
		refs = append(refs, in.Ref)
	}
	return refs
}

// contentPath is a store whose containerd is a test that writes files.
func contentPath(t *testing.T) (s *Store, root string) {
	t.Helper()
	root = t.TempDir()
	s, err := New(Config{Address: filepath.Join(t.TempDir(), "c.sock"), ContentPath: root})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, root
}

// grow writes an ingest's file as containerd lays it out.
func grow(t *testing.T, root, ref string, data []byte) (dir string) {
	t.Helper()
	dir = contentdir.IngestPath(root, ref)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ref"), []byte(ref), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), data, 0o600))
	return dir
}

func TestLookingIsRare(t *testing.T) {
	s, root := contentPath(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	dgst, blob := storetest.Blob(digest.SHA256, 1000)
	in, err := s.Ingest(t.Context(), dgst, 1000)
	require.NoError(t, err)
	defer in.Close()
	require.Zero(t, in.Available())
	dir := grow(t, root, "default/1/layer-"+dgst.String(), blob[:400])
	now = now.Add(lookEvery - 1)
	require.Zero(t, in.Available(), "looked again too soon")
	now = now.Add(1)
	require.EqualValues(t, 400, in.Available())
	grow(t, root, "default/1/layer-"+dgst.String(), blob[:600])
	require.EqualValues(t, 600, in.Available(), "an open file needs no looking")
	require.NoError(t, os.RemoveAll(dir))
	require.Zero(t, in.Available(), "containerd has discarded it")
}

func TestFollowsTheLongestOfSeveral(t *testing.T) {
	s, root := contentPath(t)
	dgst, blob := storetest.Blob(digest.SHA256, 1000)
	grow(t, root, "default/1/layer-"+dgst.String(), blob[:400])
	grow(t, root, "k8s.io/7/layer-name@"+dgst.String(), blob[:700])
	grow(t, root, "moby/1/unrelated", blob)
	in, err := s.Ingest(t.Context(), dgst, 1000)
	require.NoError(t, err)
	defer in.Close()
	require.EqualValues(t, 700, in.Available())
}

func TestAvailableIsNeverMoreThanTheBlob(t *testing.T) {
	s, root := contentPath(t)
	dgst, blob := storetest.Blob(digest.SHA256, 1000)
	grow(t, root, "default/1/layer-"+dgst.String(), append(blob, 1, 2, 3))
	in, err := s.Ingest(t.Context(), dgst, 1000)
	require.NoError(t, err)
	defer in.Close()
	require.EqualValues(t, 1000, in.Available())
	n, _ := in.ReadAt(make([]byte, 2000), 0)
	require.Equal(t, 1000, n)
}

func TestDigestOfReference(t *testing.T) {
	dgst, _ := storetest.Blob(digest.SHA256, 10)
	for ref, want := range map[string]digest.Digest{
		"default/1/layer-" + dgst.String():           dgst,
		"default/12/config-" + dgst.String():         dgst,
		"k8s.io/1/layer-some-name@" + dgst.String():  dgst,
		"default/1/" + dgst.String():                 dgst,
		"default/1/layer-" + dgst.String() + "-more": "",
		"default/1/layer-sha256:abc":                 "",
		"":                                           "",
		"import-" + string(dgst[:20]):                "",
	} {
		require.Equal(t, want, digestOf(ref), ref)
	}
}

func BenchmarkAvailable(b *testing.B) {
	root := b.TempDir()
	s, err := New(Config{Address: filepath.Join(b.TempDir(), "c.sock"), ContentPath: root})
	require.NoError(b, err)
	defer s.Close()
	for _, growing := range []bool{true, false} {
		b.Run(map[bool]string{true: "growing", false: "absent"}[growing], func(b *testing.B) {
			dgst, blob := storetest.Blob(digest.SHA256, 1000)
			if growing {
				ref := "default/1/layer-" + dgst.String()
				dir := contentdir.IngestPath(root, ref)
				require.NoError(b, os.MkdirAll(dir, 0o755))
				require.NoError(b, os.WriteFile(filepath.Join(dir, "ref"), []byte(ref), 0o600))
				require.NoError(b, os.WriteFile(filepath.Join(dir, "data"), blob, 0o600))
			}
			in, err := s.Ingest(context.Background(), dgst, 1000)
			require.NoError(b, err)
			defer in.Close()
			for b.Loop() {
				in.Available()
			}
		})
	}
}
