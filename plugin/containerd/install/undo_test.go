package install

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo"
	"github.com/shoal-p2p/shoal/internal/undo/undotest"
)

// named starts a scenario of testdata.
func named(t *testing.T, name string) Options {
	t.Helper()
	for _, s := range scenarios(t) {
		if s.Name == name {
			o := s.options
			o.Root = s.Start(t)
			return o
		}
	}
	t.Fatalf("no scenario %s", name)
	return Options{}
}

func mustInstall(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Install(t.Context(), o)
	require.NoError(t, err)
	return r
}

func edited(t *testing.T, root, path string, change func(string) string) {
	t.Helper()
	file := filepath.Join(root, path)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	next := change(string(text))
	require.NotEqual(t, string(text), next)
	require.NoError(t, os.WriteFile(file, []byte(next), 0o644))
}

func text(t *testing.T, root, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(data)
}

// TestUninstallKeepsWhatOthersChanged changes every file that install wrote, at
// both ends, and expects just that change on the files as they were.
func TestUninstallKeepsWhatOthersChanged(t *testing.T) {
	const top, bottom = "# someone was here\n", "\n# and here\n"
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			o := s.options
			o.Root = s.Start(t)
			before := undotest.Snapshot(t, o.Root, false)
			r, err := Install(t.Context(), o)
			if err != nil {
				return // a refusal, which changes nothing
			}
			for _, c := range r.Changes {
				edited(t, o.Root, c.Path, func(text string) string { return top + text + bottom })
			}
			again := mustInstall(t, o)
			require.Empty(t, again.Changes)
			_, err = Uninstall(o.Root, false)
			require.NoError(t, err)
			for _, c := range r.Changes {
				got := text(t, o.Root, c.Path)
				require.True(t, strings.HasPrefix(got, top), got)
				require.True(t, strings.HasSuffix(got, bottom), got)
				require.Equal(t, before[c.Path[1:]], strings.TrimSuffix(strings.TrimPrefix(got, top), bottom))
			}
			require.NoDirExists(t, filepath.Join(o.Root, stateDir))
		})
	}
}

func TestUninstallLeavesWhatItCannotTellApart(t *testing.T) {
	o := named(t, "mirror-and-comments")
	mustInstall(t, o)
	const hub = "/etc/containerd/certs.d/docker.io/hosts.toml"
	edited(t, o.Root, hub, func(s string) string { return strings.Replace(s, `["pull", "resolve"]`, `["pull"]`, 1) })
	changed := text(t, o.Root, hub)

	r, err := Uninstall(o.Root, false)
	require.ErrorIs(t, err, undo.ErrLeft)
	require.ErrorContains(t, err, hub)
	require.Len(t, r.Changes, 3)
	require.Equal(t, changed, text(t, o.Root, hub))
	require.NoDirExists(t, filepath.Join(o.Root, "etc/containerd/certs.d/_default"))

	_, err = Uninstall(o.Root, false)
	require.ErrorIs(t, err, undo.ErrLeft, "it still says so")
	edited(t, o.Root, hub, func(s string) string { return strings.ReplaceAll(s, "127.0.0.1:65001", "gone.example") })
	_, err = Uninstall(o.Root, false)
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(o.Root, stateDir))
}

func TestAFileThatWasRemovedIsNotBroughtBack(t *testing.T) {
	o := named(t, "debian-1.6")
	mustInstall(t, o)
	require.NoError(t, os.Remove(filepath.Join(o.Root, "etc/containerd/config.toml")))
	r, err := Uninstall(o.Root, false)
	require.NoError(t, err)
	require.Len(t, r.Notes, 1)
	require.NoFileExists(t, filepath.Join(o.Root, "etc/containerd/config.toml"))
}

func TestInstallingAnotherMirrorReplacesTheFirst(t *testing.T) {
	for _, name := range []string{"mirror-and-comments", "k3s", "fresh-2.4", "crlf-no-newline"} {
		t.Run(name, func(t *testing.T) {
			o := named(t, name)
			before := undotest.Snapshot(t, o.Root, true)
			mustInstall(t, o)
			o.Mirror = "http://127.0.0.1:7"
			mustInstall(t, o)
			for path, content := range undotest.Snapshot(t, o.Root, false) {
				require.NotContains(t, content, "65001", path)
			}
			_, err := Uninstall(o.Root, false)
			require.NoError(t, err)
			require.Equal(t, before, undotest.Snapshot(t, o.Root, true))
		})
	}
}

func TestRegistriesAddUp(t *testing.T) {
	o := named(t, "fresh-1.6")
	before := undotest.Snapshot(t, o.Root, true)
	for _, r := range []string{"docker.io", "quay.io:8443"} {
		o.Registries = []string{r}
		mustInstall(t, o)
	}
	o.DryRun = true
	require.Empty(t, mustInstall(t, o).Changes)
	require.FileExists(t, filepath.Join(o.Root, "etc/containerd/certs.d/docker.io/hosts.toml"))
	require.FileExists(t, filepath.Join(o.Root, "etc/containerd/certs.d/quay.io:8443/hosts.toml"))
	_, err := Uninstall(o.Root, false)
	require.NoError(t, err)
	require.Equal(t, before, undotest.Snapshot(t, o.Root, true))
}

// TestACrashIsUndoneOrCompleted stops an installation before and after each of
// its changes, and in the middle of writing a file.
func TestACrashIsUndoneOrCompleted(t *testing.T) {
	const name = "mirror-and-comments"
	whole := named(t, name)
	mustInstall(t, whole)
	want := undotest.Snapshot(t, whole.Root, true)
	for stop := range 4 {
		for _, complete := range []bool{true, false} {
			o := named(t, name)
			before := undotest.Snapshot(t, o.Root, true)
			undotest.Stop(t, stop, func() { mustInstall(t, o) })
			if complete {
				mustInstall(t, o)
				require.Equal(t, want, undotest.Snapshot(t, o.Root, true), "stopped at %d, then completed", stop)
			}
			_, err := Uninstall(o.Root, false)
			require.NoError(t, err)
			require.Equal(t, before, undotest.Snapshot(t, o.Root, true), "stopped at %d", stop)
		}
	}
}

func TestACrashOfUninstallIsCompleted(t *testing.T) {
	for stop := range 4 {
		o := named(t, "mirror-and-comments")
		before := undotest.Snapshot(t, o.Root, true)
		mustInstall(t, o)
		undotest.Stop(t, stop, func() { _, _ = Uninstall(o.Root, false) })
		_, err := Uninstall(o.Root, false)
		require.NoError(t, err)
		require.Equal(t, before, undotest.Snapshot(t, o.Root, true), "stopped at %d", stop)
	}
}

func TestTheManifestIsForItsOwnerAlone(t *testing.T) {
	o := named(t, "k3s")
	mustInstall(t, o)
	info, err := os.Stat(filepath.Join(o.Root, stateDir, "manifest.json"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
}

func TestADiffShowsEachFile(t *testing.T) {
	o := named(t, "debian-1.6")
	o.DryRun = true
	r := mustInstall(t, o)
	var diff bytes.Buffer
	for _, c := range r.Changes {
		diff.WriteString(c.Diff())
	}
	require.Contains(t, diff.String(), "--- a/etc/containerd/config.toml\n+++ b/etc/containerd/config.toml\n@@ ")
	require.Contains(t, diff.String(), "--- /dev/null\n+++ b/etc/containerd/certs.d/_default/hosts.toml\n@@ -0,0 +1,3 @@\n")
	require.Contains(t, diff.String(), "\n+  config_path = \"/etc/containerd/certs.d\"\n")
}

func TestOptionsThatCannotBeAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		`mirror "127.0.0.1:65001" must be an address`:    {Mirror: "127.0.0.1:65001"},
		`mirror "http://a/b" must be`:                    {Mirror: "http://a/b"},
		`mirror "http://a\"b" must be`:                   {Mirror: "http://a\"b"},
		`registry "https://quay.io" must be host[:port]`: {Mirror: testMirror, Registries: []string{"https://quay.io"}},
		`registry "quay.io/team" must be host[:port]`:    {Mirror: testMirror, Registries: []string{"quay.io/team"}},
		`registry "_default" must be host[:port]`:        {Mirror: testMirror, Registries: []string{"_default"}},
		`registry "" must be host[:port]`:                {Mirror: testMirror, Registries: []string{""}},
		`distribution "microk8s" is unknown`:             {Mirror: testMirror, Distribution: "microk8s"},
		`containerd version "1.4.3" is not known`:        {Mirror: testMirror, Version: "1.4.3"},
		`no containerd below`:                            {Mirror: testMirror, Binary: "/no/containerd"},
	} {
		o.Root = t.TempDir()
		_, err := Install(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.Empty(t, mustList(t, o.Root))
	}
}

func mustList(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return entries
}
