package cli

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/cmd/shoal/get"
	"github.com/shoal-p2p/shoal/cmd/shoal/get/gettest"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/p2p"
)

// source serves one file, and plays the tricks that a test sets.
type source struct {
	*httptest.Server
	mu       sync.Mutex
	content  []byte
	etag     string
	breakAt  int                                               // of bodies; 0: not at all
	handle   func(w http.ResponseWriter, r *http.Request) bool // true: answered
	requests []*http.Request
}

func newSource(t *testing.T, size int) *source {
	s := &source{content: registrytest.Bytes(uint64(size), size), etag: `"1"`}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Clone(context.Background()))
	content, etag, breakAt, handle := s.content, s.etag, s.breakAt, s.handle
	s.mu.Unlock()
	if handle != nil && handle(w, r) {
		return
	}
	if etag != "" {
		w.Header().Set("Etag", etag)
	}
	if breakAt > 0 {
		w = &breaking{w, breakAt}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// breaking lets a connection break after so many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n, _ := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	if b.left -= n; b.left == 0 {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func (s *source) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// seen are the values of a header in all requests.
func (s *source) seen(key string) (values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		values = append(values, r.Header.Get(key))
	}
	return values
}

func (s *source) digest() string { return digest.FromBytes(s.content).String() }

// fakeAgent is an agent's mirror, which fetches from the source, and its admin
// address.
type fakeAgent struct {
	admin string
	mu    sync.Mutex
	asked []*http.Request
}

func newFakeAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{}
	direct, end := gettest.Direct()
	var received int64
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.Clone(t.Context()))
		received += 1 << 20
		a.mu.Unlock()
		w.Header().Set("Shoal-Task", "file:abc")
		direct.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		mirror.Close()
		end()
	})
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(agent.Status{
			Mirror: strings.TrimPrefix(mirror.URL, "http://"), Node: p2p.Status{Tasks: []p2p.TaskStatus{{Digest: "file:abc", Bytes: map[string]int64{"peer": received}}}},
		})
	}))
	t.Cleanup(admin.Close)
	a.admin = strings.TrimPrefix(admin.URL, "http://")
	return a
}

// code is the exit code of an error.
func code(err error) int {
	if err == nil {
		return 0
	}
	var e *exit
	if errors.As(err, &e) {
		return e.code
	}
	return 1
}

// shoalGet runs shoal get in an empty folder of its own.
func shoalGet(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return shoal(append([]string{"get", "--retry-delay", "1ms", "--admin", newFakeAgent(t).admin}, args...)...)
}

func inDir(t *testing.T) string {
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

func names(t *testing.T, dir string) (all []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestGetThroughAnAgent(t *testing.T) {
	s, a, dir := newSource(t, 3<<20), newFakeAgent(t), inDir(t)
	out, err := shoal("get", "--admin", a.admin, "--digest", s.digest(), "--md5", fmt.Sprintf("%x", md5.Sum(s.content)),
		"-H", "X-Token: a, b: c", "--filter", "sig,date", "--filter", "x y", s.URL+"/dir/model.bin?sig=1")
	require.NoError(t, err)
	require.Contains(t, out, "model.bin\n"+s.digest()+"\n3.0 MiB in ")
	require.Contains(t, out, "1.0 MiB from peers")
	got, err := os.ReadFile("model.bin")
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.content, got))
	require.Equal(t, []string{"model.bin"}, names(t, dir))
	require.Len(t, a.asked, 1)
	require.Equal(t, s.URL+"/dir/model.bin?sig=1", a.asked[0].RequestURI)
	require.Equal(t, "p2p", a.asked[0].Header.Get("Shoal-Get"))
	require.Equal(t, "sig, date, x%20y", a.asked[0].Header.Get("Shoal-Filter"))
	require.Equal(t, []string{"a, b: c"}, s.seen("X-Token"))
	require.Equal(t, []string{""}, s.seen("Shoal-Get"))
}

func TestGetWithoutAnAgent(t *testing.T) {
	s := newSource(t, 1<<20)
	inDir(t)
	_, err := shoalGet(t, "--admin", "127.0.0.1:1", s.URL+"/a")
	require.ErrorContains(t, err, "nothing runs at 127.0.0.1:1")
	require.Equal(t, 4, code(err))

	e, err := ownEngine(t.Context(), ownOptions{})
	require.NoError(t, err)
	defer e.close()
	u, err := get.ParseURL(s.URL + "/a")
	require.NoError(t, err)
	watch, err := newTransfers(&bytes.Buffer{}, "none")
	require.NoError(t, err)
	r, err := get.New(get.Options{Engine: e.Engine, Watch: watch}).Get(t.Context(), u, "")
	require.NoError(t, err)
	require.Equal(t, s.digest(), r.Digest.String())
}

func TestGetGoesOnAfterABreak(t *testing.T) {
	s := newSource(t, 1<<20)
	inDir(t)
	s.breakAt = 300_000
	out, err := shoalGet(t, "--retry", "1", "--digest", s.digest(), s.URL+"/a")
	require.NoError(t, err)
	require.Contains(t, out, "broken off after")
	require.Equal(t, []string{"", "bytes=300000-1048575", "bytes=600000-1048575", "bytes=900000-1048575"}, s.seen("Range"))
	require.Equal(t, []string{"", `"1"`, `"1"`, `"1"`}, s.seen("If-Range"))
}

func TestGetGoesOnWithAPart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*source)
		ranges []string
		now    string
	}{
		"same":    {func(*source) {}, []string{"", "bytes=300000-1048575"}, ", 731.0 KiB of it now"},
		"changed": {func(s *source) { s.content, s.etag = registrytest.Bytes(9, 2<<20), `"2"` }, []string{"", "bytes=300000-1048575"}, "s ("},
		"shorter": {func(s *source) { s.content, s.etag = registrytest.Bytes(9, 1000), `"2"` }, []string{"", "bytes=300000-1048575"}, "s ("},
		// a broken source, which answers a range of another version
		"changed in spite of If-Range": {func(s *source) {
			s.content, s.etag = registrytest.Bytes(9, 1<<20), `"2"`
			s.handle = func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("If-Range"); return false }
		}, []string{"", "bytes=300000-1048575", ""}, "s ("},
		"shorter in spite of If-Range": {func(s *source) {
			s.content = registrytest.Bytes(9, 1000)
			s.handle = func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("If-Range"); return false }
		}, []string{"", "bytes=300000-1048575", ""}, "s ("},
		"no ranges": {func(s *source) {
			s.handle = func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false }
		}, []string{"", "bytes=300000-1048575"}, ", 731.0 KiB of it now"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newSource(t, 1<<20), inDir(t)
			s.breakAt = 300_000
			_, err := shoalGet(t, "--retry", "0", s.URL+"/a")
			require.ErrorContains(t, err, "the part that came is kept")
			require.Equal(t, 4, code(err))
			require.Equal(t, []string{".a.shoal-part", ".a.shoal-part.json"}, names(t, dir))

			s.set(func() {
				s.breakAt = 0
				c.change(s)
			})
			out, err := shoalGet(t, "--digest", s.digest(), s.URL+"/a")
			require.NoError(t, err)
			require.Contains(t, out, c.now)
			require.Equal(t, []string{"a"}, names(t, dir))
			require.Equal(t, c.ranges, s.seen("Range"))
		})
	}
}

func TestGetStartsAgainWithoutAValidator(t *testing.T) {
	s, dir := newSource(t, 1<<20), inDir(t)
	s.etag, s.breakAt = "", 300_000
	_, err := shoalGet(t, "--retry", "1", s.URL+"/a")
	require.Equal(t, 4, code(err))
	require.Equal(t, []string{"", ""}, s.seen("Range"))
	require.Empty(t, names(t, dir), "what nothing vouches for is not kept")
	_, err = shoalGet(t, "--retry", "1", "-o", "-", s.URL+"/a")
	require.ErrorContains(t, err, "neither ETag nor Last-Modified")
	require.ErrorContains(t, err, "cannot be taken back")
}

func TestGetRefusesAWrongDigest(t *testing.T) {
	s, dir := newSource(t, 1000), inDir(t)
	require.NoError(t, os.WriteFile("a", []byte("before"), 0o600))
	for _, flags := range [][]string{{"--digest", digest.FromString("x").String()}, {"--md5", strings.Repeat("0", 32)}} {
		_, err := shoalGet(t, append(flags, s.URL+"/a")...)
		require.Equal(t, 5, code(err), err)
		require.ErrorContains(t, err, "the content is ")
	}
	require.Equal(t, []string{"a"}, names(t, dir))
	before, err := os.ReadFile("a")
	require.NoError(t, err)
	require.Equal(t, "before", string(before))
}

func TestGetOfSeveralURLs(t *testing.T) {
	s, dir := newSource(t, 1000), inDir(t)
	s.handle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return true
		}
		return false
	}
	out, err := shoalGet(t, "-o", "sub/dir/", s.URL+"/a", s.URL+"/missing", s.URL+"/b", s.URL+"/other/a")
	require.Equal(t, 3, code(err))
	require.ErrorContains(t, err, "/missing: it answers 404 Not Found")
	require.Contains(t, out, "another URL gave a already")
	require.Equal(t, []string{"a", "b"}, names(t, filepath.Join(dir, "sub/dir")))

	_, err = shoalGet(t, "-o", "c", s.URL+"/a", s.URL+"/b")
	require.Equal(t, 2, code(err))
	_, err = shoalGet(t, "--digest", s.digest(), s.URL+"/a", s.URL+"/b")
	require.Equal(t, 2, code(err))
}

func TestGetToStandardOutputInOrder(t *testing.T) {
	s, dir := newSource(t, 1<<20), inDir(t)
	s.breakAt = 500_000
	var out, notes bytes.Buffer
	cmd := New()
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SetArgs([]string{"get", "--admin", newFakeAgent(t).admin, "--retry-delay", "1ms", "-o", "-", s.URL + "/a", s.URL + "/b"})
	require.NoError(t, cmd.Execute())
	require.True(t, bytes.Equal(append(bytes.Clone(s.content), s.content...), out.Bytes()))
	require.Contains(t, notes.String(), "standard output\n"+s.digest())
	require.Empty(t, names(t, dir))

	s.handle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
		}
		return r.URL.Path == "/missing"
	}
	text, err := shoalGet(t, "-q", "-o", "-", s.URL+"/missing", s.URL+"/b")
	require.Equal(t, 3, code(err))
	require.Empty(t, text, "what follows a gap is not written")
}

func TestGetToWhatIsNoFile(t *testing.T) {
	s, dir := newSource(t, 100_000), inDir(t)
	_, err := shoalGet(t, "-o", "/dev/null", s.URL+"/a", s.URL+"/b")
	require.NoError(t, err)
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	read := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(pipe)
		read <- b
	}()
	_, err = shoalGet(t, "-o", pipe, s.URL+"/a")
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.content, <-read))
	require.Equal(t, []string{"pipe"}, names(t, dir))
	_, err = shoalGet(t, "--timeout", "100ms", "-o", pipe, s.URL+"/a")
	require.Equal(t, 7, code(err), "nobody reads: %v", err)
}

func TestGetTellsWhatIsWrongWithTheCommandLine(t *testing.T) {
	for want, args := range map[string][]string{
		"requires at least 1 arg":      {},
		"unknown flag":                 {"--what", "http://h/"},
		"begin with http":              {"h/a"},
		"--range: range":               {"--range", "5-1", "http://h/"},
		"--limit-rate: rate":           {"--limit-rate", "fast", "http://h/"},
		"--digest: digest":             {"--digest", "abc", "http://h/"},
		"--md5: MD5":                   {"--md5", "abc", "http://h/"},
		"--header: a header is":        {"--header", "abc", "http://h/"},
		"it is p2p or source":          {"--pattern", "cdn", "http://h/"},
		"it is auto, plain or none":    {"--progress", "dots", "http://h/"},
		"must not be below 0":          {"--retry", "-1", "http://h/"},
		"is one file, for several URL": {"-o", "/tmp", "-o", "x", "http://h/a", "http://h/b"},
	} {
		out, err := shoal(append([]string{"get"}, args...)...)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "see shoal get --help")
		require.Equal(t, 2, code(err), want)
		require.Empty(t, out)
	}
}

func TestGetWithAnAgentThatHasNoMirror(t *testing.T) {
	supernode := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(agent.Status{Role: "supernode"})
	}))
	defer supernode.Close()
	_, err := shoal("get", "--admin", strings.TrimPrefix(supernode.URL, "http://"), "http://h/a")
	require.ErrorContains(t, err, "has no mirror")
}

func TestGetSaysNothingWhenQuiet(t *testing.T) {
	s := newSource(t, 1<<20)
	inDir(t)
	s.breakAt = 600_000
	out, err := shoalGet(t, "-q", s.URL+"/a")
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestGetTellsOfAStaleFile(t *testing.T) {
	s := newSource(t, 1000)
	inDir(t)
	s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Warning", `111 shoal "Revalidation Failed"`)
		w.Header().Set("Age", "90")
		return false
	}
	out, err := shoalGet(t, s.URL+"/a")
	require.NoError(t, err)
	require.Contains(t, out, "as the swarm had it 1m30s ago")
}

func TestASignalKeepsThePartOfGet(t *testing.T) {
	s, dir := newSource(t, 8<<20), inDir(t)
	p := start(t, "get", "--admin", newFakeAgent(t).admin, "--limit-rate", "1M", s.URL+"/a")
	part := filepath.Join(dir, ".a.shoal-part")
	require.Eventually(t, func() bool {
		info, err := os.Stat(part)
		return err == nil && info.Size() > 0
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	p.until(t, "the part that came is kept")
	p.until(t, "")
	var ended *exec.ExitError
	require.ErrorAs(t, p.Wait(), &ended)
	require.Equal(t, 130, ended.ExitCode())
	out, err := shoalGet(t, "--digest", s.digest(), s.URL+"/a")
	require.NoError(t, err)
	require.Contains(t, out, "of it now")
	require.Equal(t, []string{"a"}, names(t, dir))
}

func TestGetFromASourceThatProvesNothing(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	inDir(t)
	_, err := shoalGet(t, "--retry", "0", s.URL+"/a")
	require.ErrorContains(t, err, "certificate")
	require.Equal(t, 4, code(err))
}

func TestPlainLinesAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w, err := newTransfers(&out, "plain")
		require.NoError(t, err)
		w.Started("a", 100<<20, 0, "")
		for i := range 50 {
			time.Sleep(500 * time.Millisecond)
			w.Moved(int64(i+1) << 20)
		}
		w.end()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], "a 20 % of 100.0 MiB, 2.0 MiB/s, 40s left")
	})
}

func TestGetTrustsWhomItIsTold(t *testing.T) {
	content := []byte("behind TLS")
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	dir := inDir(t)
	ca, other := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	_, err := shoal("gen-ca", "--out", other)
	require.NoError(t, err)
	for _, trust := range [][]string{{"--cacert", ca}, {"--insecure"}} {
		out, err := shoal(append([]string{"get", "-o", "file", s.URL + "/a"}, trust...)...)
		require.NoError(t, err)
		require.Contains(t, out, "from the source")
		got, err := os.ReadFile("file")
		require.NoError(t, err)
		require.Equal(t, content, got)
	}
	out, err := shoal("get", "--cacert", filepath.Join(other, "ca.crt"), "-o", "file", s.URL+"/a")
	require.ErrorContains(t, err, "is not trusted")
	require.ErrorContains(t, err, "--cacert")
	require.Equal(t, 4, code(err))
	require.NotContains(t, out, "trying again", "it is in vain")
	_, err = shoal("get", "--cacert", "/none", s.URL+"/a")
	require.ErrorContains(t, err, "/none")
}
