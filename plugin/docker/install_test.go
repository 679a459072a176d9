package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo"
	"github.com/shoal-p2p/shoal/internal/undo/undotest"
)

const testMirror = "http://127.0.0.1:65001"

// scenario is a folder of testdata.
type scenario struct {
	undotest.Scenario
	options Options
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	var all []scenario
	for _, found := range undotest.Scenarios(t) {
		s := scenario{found, Options{Mirror: testMirror}}
		for _, a := range s.Args {
			switch name, value := a[0], a[1]; name {
			case "version":
				s.options.Version = value
			case "mirror":
				s.options.Mirror = value
			case "proxy":
				s.options.Proxy = true
			default:
				t.Fatalf("%s: %q", s.Name, name)
			}
		}
		all = append(all, s)
	}
	return all
}

func TestInstallThenUninstallGivesBackEveryByte(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			s.GivesBackEveryByte(t, func(root string, dryRun bool) (*undo.Result, error) {
				o := s.options
				o.Root, o.DryRun = root, dryRun
				return Install(t.Context(), o)
			}, Uninstall)
		})
	}
}

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

func mustInstall(t *testing.T, o Options) *undo.Result {
	t.Helper()
	r, err := Install(t.Context(), o)
	require.NoError(t, err)
	return r
}

func mustUninstall(t *testing.T, root string) *undo.Result {
	t.Helper()
	r, err := Uninstall(root, false)
	require.NoError(t, err)
	return r
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
}

func read(t *testing.T, root, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(data)
}

func TestInstallingAnotherMirrorReplacesTheFirst(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			o := s.options
			o.Root, o.Mirror = s.Start(t), testMirror
			before := undotest.Snapshot(t, o.Root, true)
			if _, err := Install(t.Context(), o); err != nil {
				return // a refusal
			}
			o.Mirror = "http://127.0.0.1:7"
			mustInstall(t, o)
			now := undotest.Snapshot(t, o.Root, false)
			for path, content := range now {
				if !strings.Contains(before[path], "65001") {
					require.NotContains(t, content, "65001", path)
				}
			}
			mustUninstall(t, o.Root)
			require.Equal(t, before, undotest.Snapshot(t, o.Root, true))
		})
	}
}

// TestUninstallFindsItsOwnInWhatAProgramWroteAnew has daemon.json written by
// programs that keep what it says and nothing else of it.
func TestUninstallFindsItsOwnInWhatAProgramWroteAnew(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			o := s.options
			o.Root = s.Start(t)
			file := filepath.Join(o.Root, DefaultConfig)
			original, _ := os.ReadFile(file)
			if _, err := Install(t.Context(), o); err != nil {
				return
			}
			tree, err := decode([]byte(read(t, o.Root, DefaultConfig)))
			require.NoError(t, err)
			tree["added"] = []any{"since"}
			write(t, o.Root, DefaultConfig, indented(t, tree))
			mustInstall(t, o)
			mustUninstall(t, o.Root)

			want, err := decode(original)
			require.NoError(t, err)
			want["added"] = []any{"since"}
			for _, key := range []string{mirrorsKey, proxiesKey} {
				if want[key] == nil { // null is none
					delete(want, key)
				}
			}
			got, err := decode([]byte(read(t, o.Root, DefaultConfig)))
			require.NoError(t, err)
			if s.Name == "null-values" {
				require.Empty(t, got[mirrorsKey])
				require.Empty(t, got[proxiesKey])
				delete(got, mirrorsKey)
				delete(got, proxiesKey)
			}
			if s.Name == "mirror-comes-second" { // where it stood nobody can tell
				require.ElementsMatch(t, want[mirrorsKey], []any{"https://mirror.gcr.io", got[mirrorsKey].([]any)[0].(string) + "/"})
				return
			}
			require.Equal(t, want, got)
		})
	}
}

func TestUninstallKeepsWhatOthersChanged(t *testing.T) {
	for name, c := range map[string]struct{ version, before, change, with, want string }{
		"another mirror in front": {
			"", `{"registry-mirrors": ["https://a.example"]}`,
			`["http`, `["https://b.example", "http`, `{"registry-mirrors": ["https://b.example", "https://a.example"]}`,
		},
		"another mirror behind a new list": {
			"", "{\n  \"debug\": true\n}\n",
			`65001"]`, `65001", "https://b.example"]`, "{\n  \"debug\": true,\n  \"registry-mirrors\": [\"https://b.example\"]\n}\n",
		},
		"the others are gone": {
			"", `{"registry-mirrors": ["https://a.example"]}`,
			`, "https://a.example"`, ``, `{"registry-mirrors": []}`,
		},
		"ours is gone": {
			"", `{"registry-mirrors": ["https://a.example"]}`,
			`"http://127.0.0.1:65001", `, ``, `{"registry-mirrors": ["https://a.example"]}`,
		},
		"a proxy was changed": {
			"28.1", "{}\n",
			`"https-proxy": "http://127.0.0.1:65001"`, `"https-proxy": "http://b.example:1"`,
			"{\n  \"proxies\": {\n    \"https-proxy\": \"http://b.example:1\"\n  }\n}\n",
		},
		"a key of somebody else": {
			"28.1", "{\n  \"debug\": true\n}\n",
			`"debug": true`, `"debug": false`, "{\n  \"debug\": false\n}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Root: t.TempDir(), Mirror: testMirror, Version: c.version, Proxy: c.version != ""}
			write(t, o.Root, DefaultConfig, c.before)
			mustInstall(t, o)
			text := read(t, o.Root, DefaultConfig)
			changed := strings.Replace(text, c.change, c.with, 1)
			require.NotEqual(t, text, changed)
			write(t, o.Root, DefaultConfig, changed)
			r, err := Uninstall(o.Root, false)
			require.NoError(t, err)
			require.Equal(t, c.want, read(t, o.Root, DefaultConfig), "%+v", r)
			require.NoDirExists(t, filepath.Join(o.Root, "var"))
		})
	}
}

func TestUninstallLeavesWhatIsNoJSONAnyMore(t *testing.T) {
	o := named(t, "nvidia")
	mustInstall(t, o)
	broken := strings.Replace(read(t, o.Root, DefaultConfig), "{", "", 1)
	write(t, o.Root, DefaultConfig, broken)
	_, err := Uninstall(o.Root, false)
	require.ErrorIs(t, err, undo.ErrLeft)
	require.ErrorContains(t, err, DefaultConfig)
	require.Equal(t, broken, read(t, o.Root, DefaultConfig))
}

func TestTheDropInKeepsWhatOthersWroteIntoIt(t *testing.T) {
	o := named(t, "fresh-proxy-20.10")
	mustInstall(t, o)
	file := filepath.Join(dropIns, dropInName)
	write(t, o.Root, file, read(t, o.Root, file)+"LimitNOFILE=infinity\n")
	mustUninstall(t, o.Root)
	require.Equal(t, "LimitNOFILE=infinity\n", read(t, o.Root, file))
}

// TestTheProxyMovesWithAnUpgrade has a dockerd of 20.10 replaced by a newer one.
func TestTheProxyMovesWithAnUpgrade(t *testing.T) {
	o := named(t, "corporate-proxy-20.10")
	before := undotest.Snapshot(t, o.Root, true)
	mustInstall(t, o)
	require.FileExists(t, filepath.Join(o.Root, dropIns, dropInName))
	o.Version, o.Proxy = "28.1", false // it stays
	r := mustInstall(t, o)
	require.Equal(t, reloadUnit, r.Restart)
	require.NoFileExists(t, filepath.Join(o.Root, dropIns, dropInName))
	require.Contains(t, read(t, o.Root, DefaultConfig), `"https-proxy": "`+testMirror+`"`)
	mustUninstall(t, o.Root)
	require.Equal(t, before, undotest.Snapshot(t, o.Root, true))
}

func TestACrashIsUndoneOrCompleted(t *testing.T) {
	const name = "corporate-proxy-20.10"
	whole := named(t, name)
	mustInstall(t, whole)
	want := undotest.Snapshot(t, whole.Root, true)
	for stop := range 2 {
		for _, complete := range []bool{true, false} {
			o := named(t, name)
			before := undotest.Snapshot(t, o.Root, true)
			undotest.Stop(t, stop, func() { mustInstall(t, o) })
			if complete {
				mustInstall(t, o)
				require.Equal(t, want, undotest.Snapshot(t, o.Root, true), "stopped at %d, then completed", stop)
			}
			mustUninstall(t, o.Root)
			require.Equal(t, before, undotest.Snapshot(t, o.Root, true), "stopped at %d", stop)
		}
	}
}

func TestWhatMakesAChangeTakeEffect(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"a new mirror":        {`{}`, `{"registry-mirrors": ["a"]}`, reload},
		"one more":            {`{"registry-mirrors": ["b"]}`, `{"registry-mirrors": ["a", "b"]}`, reload},
		"one less":            {`{"registry-mirrors": ["a", "b"]}`, `{"registry-mirrors": ["b"]}`, reload},
		"no list any more":    {`{"registry-mirrors": ["a"]}`, `{}`, restart},
		"no file any more":    {`{"registry-mirrors": ["a"]}`, ``, restart},
		"a proxy":             {`{}`, `{"registry-mirrors": ["a"], "proxies": {"http-proxy": "a"}}`, restart},
		"another proxy":       {`{"proxies": {"http-proxy": "b"}}`, `{"proxies": {"http-proxy": "a"}}`, restart},
		"a proxy that stays":  {`{"proxies": {"a": "b"}}`, `{"proxies": {"a": "b"}, "registry-mirrors": ["a"]}`, reload},
		"what was no file":    {``, `{"registry-mirrors": ["a"]}`, reload},
		"what was not valid ": {`{`, `{"registry-mirrors": ["a"]}`, reload},
	} {
		t.Run(name, func(t *testing.T) {
			r := withRestart(&undo.Result{Changes: []undo.Change{{Path: DefaultConfig, Before: []byte(c.before), After: []byte(c.after)}}})
			require.Equal(t, c.want, r.Restart)
			require.Equal(t, c.want == restart, len(r.Notes) > 0)
		})
	}
}

func TestOptionsThatCannotBeAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		`mirror "127.0.0.1:65001" must be an address`: {Mirror: "127.0.0.1:65001"},
		`dockerd version "library-import" is not a`:   {Mirror: testMirror, Proxy: true, Version: "library-import"},
		`name it with --dockerd, or its version with`: {Mirror: testMirror, Proxy: true, Binary: "/no/dockerd"},
		`--docker-version (no dockerd was found)`:     {Mirror: testMirror, Proxy: true},
		`a user or a password, which it never asks`:   {Mirror: "http://me:s3cret@127.0.0.1:65001"},
		`user or a password`:                          {Mirror: "http://me:s3cret@127.0.0.1:no"},
	} {
		o.Root = t.TempDir()
		_, err := Install(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), "s3cret")
		entries, err := os.ReadDir(o.Root)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}
