package contentdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, data string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(data), 0o600))
}

func TestWalkPassesOverWhatIsNoBlob(t *testing.T) {
	root := t.TempDir()
	walk := func() (found []digest.Digest) {
		require.NoError(t, Walk(t.Context(), root, func(dgst digest.Digest, info fs.FileInfo) error {
			require.EqualValues(t, 4, info.Size())
			found = append(found, dgst)
			return nil
		}))
		return found
	}
	require.Empty(t, walk(), "there is no directory yet")
	want := digest.FromString("blob")
	write(t, "blob", root, "blobs", "sha256", want.Encoded())
	write(t, "junk", root, "blobs", "sha256", "name")
	write(t, "junk", root, "blobs", "md5", "d41d8cd98f00b204e9800998ecf8427e")
	write(t, "junk", root, "blobs", "file")
	require.NoError(t, os.Mkdir(filepath.Join(root, "blobs", "sha256", digest.FromString("dir").Encoded()), 0o755))
	require.Equal(t, []digest.Digest{want}, walk())
}

func TestOpen(t *testing.T) {
	root := t.TempDir()
	dir := digest.FromString("dir")
	path, err := BlobPath(root, dir)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(path, 0o755))
	_, err = Open(root, dir)
	require.ErrorContains(t, err, "not a plain file")
	_, err = Open(root, digest.FromString("absent"))
	require.True(t, errdefs.IsNotFound(err), "got %v", err)
	for _, bad := range []digest.Digest{"", "sha256:../../etc/passwd", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		_, err = Open(root, bad)
		require.True(t, errdefs.IsInvalidArgument(err), "%q: got %v", bad, err)
	}
}

func TestIngests(t *testing.T) {
	root := t.TempDir()
	all, err := Ingests(root)
	require.NoError(t, err)
	require.Empty(t, all, "there is no directory yet")
	whole := IngestPath(root, "a")
	write(t, "a", whole, "ref")
	write(t, "12345", whole, "data")
	cut := IngestPath(root, "a-longer-reference") // its ref file is being written
	write(t, "a-longer", cut, "ref")
	all, err = Ingests(root)
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, in := range all {
		if in.Dir == whole {
			require.Equal(t, "a", in.Ref)
			require.EqualValues(t, 5, in.Data.Size())
			continue
		}
		require.Equal(t, Ingest{Dir: cut}, in)
	}
}
