package piece

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func TestIDsOfFilesDependOnEveryNameAndItsPlace(t *testing.T) {
	ids := map[digest.Digest]bool{}
	for _, names := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"c", "ab"}, {"ab", "c", ""}, {}} {
		id := FileID(names...)
		require.NoError(t, ValidateID(id))
		require.True(t, IsFile(id))
		ids[id] = true
	}
	require.Len(t, ids, 6)
	require.Equal(t, FileID("a", "b"), FileID("a", "b"))
}

func TestWhatIsNoIDIsRefused(t *testing.T) {
	require.NoError(t, ValidateID(digest.FromString("blob")))
	require.False(t, IsFile(digest.FromString("blob")))
	good := FileID("a").Encoded()
	for _, id := range []string{"", "file", "file:", "file:" + good[1:], "file:" + good + "0", "file:../" + good[3:], "File:" + good, "md5:" + good[:32]} {
		require.Error(t, ValidateID(digest.Digest(id)), id)
		_ = IsFile(digest.Digest(id))
	}
	require.False(t, IsFile(""))
	require.False(t, IsFile("file"))
}
