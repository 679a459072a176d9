package install

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// seed adds the files of testdata whose name ends in suffix.
func seed(f *testing.F, suffix string) {
	f.Helper()
	files, err := filepath.Glob("testdata/*/before/etc/*/*" + suffix)
	require.NoError(f, err)
	for _, depth := range []string{"*/", "*/*/"} {
		more, err := filepath.Glob("testdata/*/before/etc/*/" + depth + "*" + suffix)
		require.NoError(f, err)
		files = append(files, more...)
	}
	require.NotEmpty(f, files)
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 4096 { // not a link that leads out of the tree
			f.Add(data)
		}
	}
}

func FuzzHosts(f *testing.F) {
	seed(f, "hosts.toml")
	f.Add([]byte("host = {}"))
	f.Add([]byte("[host]\n\"a\".capabilities = []"))
	f.Add([]byte("[[host]]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, hunks, err := addHost(text, testMirror)
		if err != nil || len(hunks) == 0 {
			return
		}
		again, none, err := addHost(out, testMirror)
		require.NoError(t, err)
		require.Empty(t, none)
		require.Equal(t, out, again)
		if table := expressions(out); len(hunks) > 0 {
			first := slices.IndexFunc(table, func(x expression) bool { return x.table && len(x.key) > 1 && x.key[0] == "host" })
			require.Equal(t, []string{"host", testMirror}, table[first].key)
		}
		back, ok := undo.TakeOut(out, hunks)
		require.True(t, ok)
		require.Equal(t, text, back)
	})
}

func FuzzConfigPath(f *testing.F) {
	seed(f, ".toml")
	f.Add([]byte("plugins.\"io.containerd.grpc.v1.cri\".registry = {config_path = ''}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table := append(slices.Clone(cri2), "registry")
		out, hunks, err := setConfigPath(text, 2, table, certsDir)
		if err != nil {
			return
		}
		require.Equal(t, certsDir, lookupText(out, append(table, "config_path")))
		if back, ok := undo.TakeOut(out, hunks); ok {
			require.Equal(t, text, back)
		}
	})
}

func FuzzRegistries(f *testing.F) {
	seed(f, ".yaml")
	f.Add([]byte("mirrors: &a\n  x: *b"))
	f.Add([]byte("? mirrors\n: {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, hunks, _, err := addEndpoints(text, testMirror, []string{"*", "docker.io"})
		if err != nil || len(hunks) == 0 {
			return
		}
		tree, err := decodeYAML(out)
		require.NoError(t, err)
		require.NotEmpty(t, append(endpointsOf(tree, "*"), endpointsOf(tree, "docker.io")...))
		if back, ok := undo.TakeOut(out, hunks); ok {
			require.Equal(t, text, back)
		}
	})
}
