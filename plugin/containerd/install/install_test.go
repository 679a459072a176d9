package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	testMirror = "http://127.0.0.1:65001"
	stateDir   = "/var/lib/shoal/install/containerd"
)

// scenario is a folder of testdata: args, the tree before, the golden tree
// after, and the golden output.
type scenario struct {
	name, dir string
	options   Options
	mkdir     []string
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	dirs, err := filepath.Glob("testdata/*/args")
	require.NoError(t, err)
	require.Greater(t, len(dirs), 20)
	var all []scenario
	for _, file := range dirs {
		s := scenario{dir: filepath.Dir(file), options: Options{Mirror: testMirror}}
		s.name = filepath.Base(s.dir)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name {
			case "version":
				s.options.Version = value
			case "mirror":
				s.options.Mirror = value
			case "registry":
				s.options.Registries = append(s.options.Registries, value)
			case "mkdir":
				s.mkdir = append(s.mkdir, value)
			default:
				t.Fatalf("%s: %q", file, line)
			}
		}
		all = append(all, s)
	}
	return all
}

// start is a fresh copy of the tree before, with modes and owners that a new
// file would not have.
func (s scenario) start(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if _, err := os.Stat(filepath.Join(s.dir, "before")); err == nil {
		copyTree(t, filepath.Join(s.dir, "before"), root)
	}
	for _, d := range s.mkdir {
		require.NoError(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 || path == root {
			return err
		}
		if os.Geteuid() == 0 {
			require.NoError(t, os.Lchown(path, 1234, 5678))
		}
		if d.IsDir() {
			return os.Chmod(path, 0o750)
		}
		return os.Chmod(path, 0o640)
	}))
	return root
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(from, path)
		require.NoError(t, err)
		at := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(at, 0o755)
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			require.NoError(t, err)
			return os.Symlink(target, at)
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return os.WriteFile(at, data, 0o644)
	}))
}

// snapshot is all of a tree: what kind, mode, owner and bytes each path has.
// Without metadata it is what a golden tree can hold.
func snapshot(t *testing.T, root string, metadata bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(root, path)
		require.NoError(t, err)
		if !metadata && (rel == filepath.Join(".", stateDir) || d.IsDir()) {
			if rel == stateDir[1:] {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Lstat(path)
		require.NoError(t, err)
		text := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			text, err = os.Readlink(path)
			text = "-> " + text
		case !info.IsDir():
			var data []byte
			data, err = os.ReadFile(path)
			text = string(data)
		}
		require.NoError(t, err)
		if metadata && rel != "." {
			st := info.Sys().(*syscall.Stat_t)
			text = fmt.Sprintf("%v %d:%d %s", info.Mode(), st.Uid, st.Gid, text)
		}
		out[rel] = text
		return nil
	}))
	return out
}

// story is what a command says.
func story(r *Result, err error) string {
	var out strings.Builder
	if err != nil {
		fmt.Fprintf(&out, "error: %v\n", err)
		return out.String()
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&out, "%s: %s\n", c.Path, c.What)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&out, "note:", n)
	}
	fmt.Fprintln(&out, "restart:", r.Restart)
	return out.String()
}

func TestInstallThenUninstallGivesBackEveryByte(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			o := s.options
			o.Root = s.start(t)
			before := snapshot(t, o.Root, true)

			dry := o
			dry.DryRun = true
			planned, dryErr := Install(t.Context(), dry)
			require.Equal(t, before, snapshot(t, o.Root, true), "a dry run changes nothing")

			r, err := Install(t.Context(), o)
			require.Equal(t, story(planned, dryErr), story(r, err))
			golden(t, s, o.Root, story(r, err))
			if err != nil {
				require.Equal(t, before, snapshot(t, o.Root, true), "a refusal changes nothing")
				return
			}

			installed := snapshot(t, o.Root, true)
			again, err := Install(t.Context(), o)
			require.NoError(t, err)
			require.Empty(t, again.Changes)
			require.Equal(t, installed, snapshot(t, o.Root, true), "installing again changes nothing")

			_, err = Uninstall(o.Root, false)
			require.NoError(t, err)
			require.Equal(t, before, snapshot(t, o.Root, true))
			none, err := Uninstall(o.Root, false)
			require.NoError(t, err)
			require.Empty(t, none.Changes)
		})
	}
}

func golden(t *testing.T, s scenario, root, said string) {
	t.Helper()
	after, output := filepath.Join(s.dir, "after"), filepath.Join(s.dir, "output")
	got := snapshot(t, root, false)
	if *update {
		require.NoError(t, os.RemoveAll(after))
		require.NoError(t, os.MkdirAll(after, 0o755))
		copyTree(t, root, after)
		require.NoError(t, os.RemoveAll(filepath.Join(after, "var/lib/shoal")))
		_ = os.Remove(filepath.Join(after, "var/lib"))
		_ = os.Remove(filepath.Join(after, "var"))
		require.NoError(t, os.WriteFile(output, []byte(said), 0o644))
	}
	want := map[string]string{}
	if _, err := os.Stat(after); err == nil {
		want = snapshot(t, after, false)
	}
	require.Equal(t, want, got)
	text, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, string(text), said)
}

// TestContainerdTakesTheMirrorFirst reads each hosts.toml of the golden trees
// with containerd's own loader, and compares with what it made of the tree
// before.
func TestContainerdTakesTheMirrorFirst(t *testing.T) {
	count := 0
	for _, s := range scenarios(t) {
		o := s.options
		o.Root = s.start(t)
		before := t.TempDir()
		copyTree(t, o.Root, before)
		if _, err := Install(t.Context(), o); err != nil {
			continue
		}
		files, err := filepath.Glob(filepath.Join(o.Root, "etc/*/certs.d/*/hosts.toml"))
		require.NoError(t, err)
		for _, file := range files {
			rel, err := filepath.Rel(o.Root, file)
			require.NoError(t, err)
			t.Run(s.name+"/"+rel, func(t *testing.T) {
				was, now := endpoints(t, before, rel), endpoints(t, o.Root, rel)
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				if !strings.Contains(string(text), strings.TrimSuffix(o.Mirror, "/")) {
					require.Equal(t, was, now) // not ours to change
					return
				}
				count++
				require.Equal(t, strings.TrimSuffix(o.Mirror, "/")+"/v2 pull,resolve", now[0])
				require.Equal(t, was, now[len(now)-len(was):], "the others come after it, as they were")
				require.LessOrEqual(t, len(now)-len(was), 1)
			})
		}
	}
	require.Greater(t, count, 20)
}

// endpoints are what containerd asks, in order and with what credentials, with
// the folder of a hosts.toml, or with _default where there is none.
func endpoints(t *testing.T, root, rel string) []string {
	t.Helper()
	own := t.TempDir()
	dir := filepath.Dir(filepath.Join(root, rel))
	if _, err := os.Stat(dir); err != nil {
		dir, err = config.HostDirFromRoot(filepath.Dir(dir))(filepath.Base(dir))
		if err != nil {
			dir = t.TempDir()
		}
	}
	dir, err := filepath.EvalSymlinks(strings.Replace(dir, "index.docker.io", "docker.io", 1))
	require.NoError(t, err)
	copyTree(t, dir, own)
	entries, err := os.ReadDir(own)
	require.NoError(t, err)
	for _, e := range entries {
		path := filepath.Join(own, e.Name())
		if e.Name() != "hosts.toml" {
			require.NoError(t, os.WriteFile(path, testCertificate(t), 0o600))
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		site := filepath.Join(t.TempDir(), "site.crt")
		require.NoError(t, os.WriteFile(site, testCertificate(t), 0o600))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/etc/ssl/site.crt", site)), 0o600))
	}
	all, err := config.ConfigureHosts(t.Context(), config.HostOptions{HostDir: func(string) (string, error) { return own, nil }})("registry.test")
	require.NoError(t, err)
	var out []string
	for _, h := range all {
		var can []string
		for i, name := range []string{"pull", "resolve", "push", "referrers"} {
			if h.Capabilities&(1<<i) != 0 {
				can = append(can, name)
			}
		}
		line := fmt.Sprintf("%s://%s%s %s", h.Scheme, h.Host, h.Path, strings.Join(can, ","))
		if len(h.Header) > 0 {
			line += fmt.Sprintf(" %v", h.Header)
		}
		if c := h.Client.Transport.(*http.Transport).TLSClientConfig; c.RootCAs != nil || len(c.Certificates) > 0 || c.InsecureSkipVerify {
			line += fmt.Sprintf(" ca %t, %d client certificates, insecure %t", c.RootCAs != nil, len(c.Certificates), c.InsecureSkipVerify)
		}
		out = append(out, line)
	}
	return out
}

// testCertificate is a certificate and its key, in one file.
var testCertificate = func() func(t *testing.T) []byte {
	var pair []byte
	return func(t *testing.T) []byte {
		if pair == nil {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
			require.NoError(t, err)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
			pair = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
		}
		return pair
	}
}()
