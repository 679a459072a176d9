package contentdir

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func TestStateDiffersWhenBlobsComeAndGo(t *testing.T) {
	root := t.TempDir()
	state := func() string {
		s, err := State(root)
		require.NoError(t, err)
		return s
	}
	require.Empty(t, state(), "nothing is there yet")
	dir := filepath.Join(root, "blobs", "sha256")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(dir, old, old))
	empty := state()
	file := filepath.Join(dir, digest.FromString("a").Encoded())
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	one := state()
	require.NotEqual(t, empty, one)
	require.Equal(t, one, state())
	require.NoError(t, os.Chtimes(dir, old, old))
	require.NoError(t, os.Remove(file))
	require.NotEqual(t, empty, state())
	require.NoError(t, os.RemoveAll(filepath.Join(root, "blobs")))
	require.NoError(t, os.WriteFile(filepath.Join(root, "blobs"), nil, 0o600))
	_, err := State(root)
	require.Error(t, err)
}
