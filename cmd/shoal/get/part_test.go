package get

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// left makes a part of digits with the first n bytes in a folder, and returns its
// path.
func left(t *testing.T, dir string, n int) string {
	t.Helper()
	_, err := (&recorder{handle: cutOff(digits, `"1"`, n)}).fetch(t, "http://h/a", dir, Options{})
	require.Error(t, err)
	return filepath.Join(dir, ".a.shoal-part")
}

// change changes the notes of a part.
func change(t *testing.T, path string, by func(*notes)) {
	t.Helper()
	data, err := os.ReadFile(path + ".json")
	require.NoError(t, err)
	var n notes
	require.NoError(t, json.Unmarshal(data, &n))
	by(&n)
	data, err = json.Marshal(n)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".json", data, 0o600))
}

func TestWhatOfAPartIsContinued(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		url    string
		want   string // Range
	}{
		"as it was": {func(*testing.T, string) {}, "http://h/a", "bytes=6-9"},
		"other URL": {func(*testing.T, string) {}, "http://h/a?b", ""},
		"whole": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, digits, 0o600))
		}, "http://h/a", "bytes=9-9"},
		"too long": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, append(digits, 'x'), 0o600))
		}, "http://h/a", "bytes=9-9"},
		"empty":    {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, "http://h/a", ""},
		"no notes": {func(t *testing.T, path string) { require.NoError(t, os.Remove(path+".json")) }, "http://h/a", ""},
		"garbage": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+".json", []byte("{"), 0o600))
		}, "http://h/a", ""},
		"another format":   {func(t *testing.T, path string) { change(t, path, func(n *notes) { n.Format = 2 }) }, "http://h/a", ""},
		"no validator":     {func(t *testing.T, path string) { change(t, path, func(n *notes) { n.Validator = "" }) }, "http://h/a", ""},
		"another boot":     {func(t *testing.T, path string) { change(t, path, func(n *notes) { n.Boot, n.Synced = "x", 4 }) }, "http://h/a", "bytes=4-9"},
		"boot unknown":     {func(t *testing.T, path string) { change(t, path, func(n *notes) { n.Boot, n.Synced = "", 0 }) }, "http://h/a", ""},
		"nonsense numbers": {func(t *testing.T, path string) { change(t, path, func(n *notes) { n.Size, n.Base = -5, -7 }) }, "http://h/a", ""},
	} {
		dir := t.TempDir()
		c.change(t, left(t, dir, 6))
		r := &recorder{handle: serve(digits, `"1"`)}
		got, err := r.fetch(t, c.url, dir, Options{Digests: []digest.Digest{digest.FromBytes(digits)}})
		require.NoError(t, err, name)
		require.Equal(t, c.want, r.requests[0].Header.Get("Range"), name)
		require.EqualValues(t, 10, got.Size)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, name)
	}
}

func TestAPartThatCannotBeHadNowIsKept(t *testing.T) {
	dir := t.TempDir()
	path := left(t, dir, 6)
	_, err := (&recorder{handle: http.NotFound}).fetch(t, "http://h/a", dir, Options{})
	require.Equal(t, Refused, KindOf(err))
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, digits[:6], kept)
}

func TestAPartHoldsNoMoreRoomThanItHasBytes(t *testing.T) {
	big := make([]byte, 64<<20)
	dir := t.TempDir()
	_, err := (&recorder{handle: cutOff(big, `"1"`, 1000)}).fetch(t, "http://h/a", dir, Options{})
	require.ErrorContains(t, err, "kept")
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(filepath.Join(dir, ".a.shoal-part"), &st))
	require.EqualValues(t, 1000, st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20))
}

func TestTwoDownloadsToOneOutput(t *testing.T) {
	dir := t.TempDir()
	var inner error
	r := &recorder{}
	r.handle = func(w http.ResponseWriter, req *http.Request) {
		_, inner = (&recorder{handle: hello}).fetch(t, "http://h/a", dir, Options{})
		serve(digits, `"1"`)(w, req)
	}
	_, err := r.fetch(t, "http://h/a", dir, Options{})
	require.NoError(t, err)
	require.ErrorContains(t, inner, "another shoal get")
	require.Equal(t, Local, KindOf(inner))
}

func TestTheOutputReplacesAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, []byte("before"), 0o600))
	require.NoError(t, os.Symlink("file", link))
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	_, err := (&recorder{handle: cutOff(digits, `"1"`, 6)}).fetch(t, "http://h/a", link, Options{})
	require.Error(t, err)
	body, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "before", string(body))
	_, err = (&recorder{handle: serve(digits, `"1"`)}).fetch(t, "http://h/a", link, Options{})
	require.NoError(t, err)
	info, err := os.Lstat(file)
	require.NoError(t, err)
	require.EqualValues(t, 10, info.Size())
	require.Equal(t, "-rw-r-----", info.Mode().String())
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, "file", target)

	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	_, err = (&recorder{handle: hello}).fetch(t, "http://h/a", filepath.Join(dir, "dangling"), Options{})
	require.ErrorContains(t, err, "leads nowhere")
}

func TestAPartIsNoTrap(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	for _, name := range []string{".a.shoal-part", ".a.shoal-part.json"} {
		require.NoError(t, os.Symlink(victim, filepath.Join(dir, name)))
		_, err := (&recorder{handle: serve(digits, `"1"`)}).fetch(t, "http://h/a", dir, Options{})
		require.Equal(t, Local, KindOf(err), name)
		body, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "mine", string(body))
		_ = os.Remove(filepath.Join(dir, name))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, ".a.shoal-part"), 0o600))
	_, err := (&recorder{handle: hello}).fetch(t, "http://h/a", dir, Options{})
	require.ErrorContains(t, err, "in the way")
	if os.Geteuid() == 0 {
		sticky := t.TempDir()
		require.NoError(t, os.Chmod(sticky, 0o777|os.ModeSticky))
		planted := filepath.Join(sticky, ".a.shoal-part")
		require.NoError(t, os.WriteFile(planted, nil, 0o666))
		require.NoError(t, os.Chown(planted, 65534, 65534))
		_, err := (&recorder{handle: hello}).fetch(t, "http://h/a", sticky, Options{})
		require.Equal(t, Local, KindOf(err), err)
	}
}

func TestTheSourcesNameReplacesNoFile(t *testing.T) {
	attach := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="../../b c"`)
		serve(digits, `"1"`)(w, r)
	}
	dir := t.TempDir()
	got, err := (&recorder{handle: attach}).fetch(t, "http://h/a", dir, Options{})
	require.NoError(t, err)
	require.Equal(t, "b c", got.Name)
	require.FileExists(t, filepath.Join(dir, "b c"))
	r := &recorder{handle: attach}
	_, err = r.fetch(t, "http://h/a", dir, Options{})
	require.ErrorContains(t, err, "the source calls the file b c, which is there already")
	require.Equal(t, Local, KindOf(err))
	_, err = (&recorder{handle: attach}).fetch(t, "http://h/a", filepath.Join(dir, "mine"), Options{})
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

func TestWhatHasTheNameAlready(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	r := &recorder{handle: hello}
	_, err := r.fetch(t, "http://h/a", dir, Options{})
	require.ErrorContains(t, err, "is a folder")
	require.Equal(t, Local, KindOf(err))
	require.Empty(t, r.requests)

	require.NoError(t, os.Symlink("file", filepath.Join(dir, "b")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = r.fetch(t, "http://h/b", dir, Options{})
	require.NoError(t, err)
	body, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(body))

	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	require.NoError(t, err)
	defer l.Close()
	_, err = r.fetch(t, "http://h/socket", dir, Options{})
	require.Equal(t, Local, KindOf(err), "it is not waited for: %v", err)
}

func TestAPlaceThatCannotBeWritten(t *testing.T) {
	for _, output := range []string{"/nowhere/at/all", "/proc/x", t.TempDir() + "/file/" + strings.Repeat("x", 300)} {
		_, err := (&recorder{handle: hello}).fetch(t, "http://h/a", output, Options{})
		require.Equal(t, Local, KindOf(err), output)
	}
}

func TestADiskThatIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	big := bytes.Repeat(digits, 100_000)
	r := &recorder{handle: serve(big, `"1"`)}
	_, err := r.fetch(t, "http://h/a", dir, Options{Retries: 5})
	require.Equal(t, Local, KindOf(err))
	require.ErrorContains(t, err, "no space left on device: make room")
	require.Len(t, r.requests, 1)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "found out before the first byte")

	// A source that does not say how much comes.
	r = &recorder{handle: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(big)
	}}
	_, err = r.fetch(t, "http://h/a", dir, Options{Retries: 5})
	require.ErrorContains(t, err, "no space left on device: make room")
	require.ErrorContains(t, err, "kept")
	part, err := os.ReadFile(filepath.Join(dir, ".a.shoal-part"))
	require.NoError(t, err)
	require.NotEmpty(t, part)
	require.True(t, bytes.HasPrefix(big, part))
}
