package files_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/files"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/p2p/piece"
)

func TestNodesReadAFileOnceTogether(t *testing.T) {
	b := newBed(t)
	data := random("together", 9*mib+77)
	b.origin.file(data, "v1")
	var wg sync.WaitGroup
	for range 4 {
		n := b.node()
		wg.Go(func() {
			got, err := n.try(http.MethodGet, b.origin.URL+"/a?b=c", files.HeaderGet, "p2p")
			if err == nil {
				got.require(t, http.StatusOK, data)
				require.Equal(t, `"v1"`, got.Header.Get("ETag"))
				require.Equal(t, "application/x-test", got.Header.Get("Content-Type"))
				require.NoError(t, piece.ValidateID(digest.Digest(got.Header.Get(files.HeaderTask))))
			}
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.EqualValues(t, len(data), b.origin.sent.Load())
}

func TestAChangedFileIsAnotherTask(t *testing.T) {
	b := newBed(t)
	n := b.node()
	for _, version := range []string{"v1", "v2", "v3"} {
		data := random(version, 3*mib)
		b.origin.file(data, version)
		n.get("/a").require(t, http.StatusOK, data)
		b.node().get("/a").require(t, http.StatusOK, data)
	}
	require.EqualValues(t, 3*3*mib, b.origin.sent.Load())
}

func TestAFileThatChangesInTheMiddleIsNeverMixed(t *testing.T) {
	b := newBed(t)
	old, fresh := random("old", 8*mib), random("new", 8*mib)
	var once sync.Once
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", fmt.Sprint(len(old)))
			return
		}
		first := false
		once.Do(func() { first = true })
		if !first {
			w.Header().Set("ETag", `"v2"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(fresh))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(old)))
		_, _ = w.Write(old[:3*mib])
		panic(http.ErrAbortHandler)
	})
	got, err := b.node().try(http.MethodGet, b.origin.URL+"/a")
	if err == nil { // it had sent nothing yet
		require.NotEqual(t, http.StatusOK, got.StatusCode)
		return
	}
	require.True(t, bytes.HasPrefix(old, got.body))
}

func TestRangesAreTasksOfTheirOwn(t *testing.T) {
	b := newBed(t)
	data := random("ranges", 8*mib)
	b.origin.file(data, "v1")
	n, other := b.node(), b.node()
	for _, n := range []*node{n, other} {
		got := n.get("/a", "Range", "bytes=1000-3145727", files.HeaderGet, "p2p")
		got.require(t, http.StatusPartialContent, data[1000:3*mib])
		require.Equal(t, fmt.Sprintf("bytes 1000-3145727/%d", len(data)), got.Header.Get("Content-Range"))
	}
	n.get("/a", "Range", "bytes=5000-3145727", files.HeaderGet, "p2p", files.HeaderResume, "bytes=1000-3145727").require(t, http.StatusPartialContent, data[5000:3*mib])
	require.EqualValues(t, 3*mib-1000, b.origin.sent.Load(), "no byte more, and once for both")
	n.get("/a", "Range", "bytes=-5", files.HeaderGet, "p2p").require(t, http.StatusPartialContent, data[8*mib-5:])
	n.get("/a", "Range", "bytes=99999999-", files.HeaderGet, "p2p").require(t, http.StatusRequestedRangeNotSatisfiable, []byte("the range is outside the file\n"))

	before := b.origin.sent.Load()
	n.get("/a", "Range", "bytes=4000000-", files.HeaderResume, "1", files.HeaderGet, "p2p").require(t, http.StatusPartialContent, data[4000000:])
	n.get("/a").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load()-before, "the rest is part of the whole")
	n.get("/a", "Range", "bytes=7-70").require(t, http.StatusPartialContent, data[7:71])
	require.EqualValues(t, len(data), b.origin.sent.Load()-before, "the whole is here")
}

func TestASourceThatSaysTooLittleIsRelayed(t *testing.T) {
	data := random("little", 2*mib)
	for name, h := range map[string]http.HandlerFunc{
		"no size": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			w.(interface{ Unwrap() http.ResponseWriter }).Unwrap().(http.Flusher).Flush()
			_, _ = w.Write(data)
		},
		"no version": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		},
		"no ranges":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) },
		"not to share":  func(w http.ResponseWriter, r *http.Request) { serveAs(w, r, data, "Cache-Control", "no-store") },
		"for one alone": func(w http.ResponseWriter, r *http.Request) { serveAs(w, r, data, "Cache-Control", "private") },
		"with a cookie": func(w http.ResponseWriter, r *http.Request) { serveAs(w, r, data, "Set-Cookie", "a=b") },
		"large headers": func(w http.ResponseWriter, r *http.Request) {
			serveAs(w, r, data, "X-Large", strings.Repeat("x", 20<<10))
		},
		"a weak version": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `W/"v1"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		},
		"varies": func(w http.ResponseWriter, r *http.Request) { serveAs(w, r, data, "Vary", "*") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.origin.serve(h)
			n := b.node()
			for range 2 {
				got := n.get("/a")
				got.require(t, http.StatusOK, data)
				require.Empty(t, got.Header.Get(files.HeaderTask))
			}
			require.Empty(t, n.Status().Tasks)
		})
	}
}

func serveAs(w http.ResponseWriter, r *http.Request, data []byte, header ...string) {
	w.Header().Set("ETag", `"v1"`)
	for i := 0; i < len(header); i += 2 {
		w.Header().Add(header[i], header[i+1])
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func TestASourceWithoutRangesGoesThroughTheSwarm(t *testing.T) {
	b := newBed(t)
	data := random("plain", 5*mib)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(data)
		}
	})
	b.node().get("/a").require(t, http.StatusOK, data)
	b.node().get("/a").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
}

func TestASourceThatKnowsNoHeadIsAskedOtherwise(t *testing.T) {
	b := newBed(t)
	data := random("signed", 5*mib)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		serveAs(w, r, data)
	})
	got := b.node().get("/a")
	got.require(t, http.StatusOK, data)
	require.NotEmpty(t, got.Header.Get(files.HeaderTask))
}

func TestRefusalsOfTheSourceComeThrough(t *testing.T) {
	b := newBed(t)
	for _, status := range []int{401, 403, 404, 410, 429} {
		b.origin.serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "the source's words", status)
		})
		got := b.node().get("/a")
		got.require(t, status, []byte("the source's words\n"))
		require.Equal(t, "Basic", got.Header.Get("WWW-Authenticate"))
	}
	b.origin.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	require.Equal(t, http.StatusServiceUnavailable, b.node().get("/a").StatusCode)
}

func TestRedirectsAreFollowedForDownloadsAlone(t *testing.T) {
	b := newBed(t)
	data := random("redirect", mib)
	other := newOrigin(t)
	var leaked []string
	other.serve(func(w http.ResponseWriter, r *http.Request) {
		leaked = append(leaked, r.Header.Get("Authorization")+r.Header.Get("X-Token")+r.Header.Get("Cookie"))
		serveAs(w, r, data)
	})
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/b", http.StatusFound) })
	n := b.node()
	got := n.get("/a", files.HeaderGet, "p2p", "Authorization", "Bearer secret", "X-Token", "secret", "Cookie", "secret")
	got.require(t, http.StatusOK, data)
	require.NotEmpty(t, leaked)
	require.Empty(t, strings.Join(leaked, ""), "credentials went to another host")
	got = n.get("/a")
	require.Equal(t, http.StatusFound, got.StatusCode)
	require.Equal(t, other.URL+"/b", got.Header.Get("Location"))
}

func TestPrivateFilesAreNotSharedBetweenCredentials(t *testing.T) {
	b := newBed(t)
	data := random("private", 2*mib)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Basic alice", "Basic bob":
			serveAs(w, r, data, "Cache-Control", "max-age=600")
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	n := b.node()
	n.get("/a", "Authorization", "Basic alice").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
	b.node().get("/a", "Authorization", "Basic alice").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load(), "the same credentials share")
	n.get("/a", "Authorization", "Basic bob").require(t, http.StatusOK, data)
	require.EqualValues(t, 2*len(data), b.origin.sent.Load(), "others do not")
	require.Equal(t, http.StatusUnauthorized, n.get("/a").StatusCode)
	require.Equal(t, http.StatusUnauthorized, n.get("/a", "Authorization", "Basic eve").StatusCode)
}

func TestPublicFilesAreSharedByAllWhoMayReadThem(t *testing.T) {
	b := newBed(t)
	data := random("public", 2*mib)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serveAs(w, r, data, "Cache-Control", "public, max-age=600")
	})
	n := b.node()
	n.get("/a", "Authorization", "Basic alice").require(t, http.StatusOK, data)
	n.get("/a", "Authorization", "Basic bob").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
	require.Equal(t, http.StatusUnauthorized, n.get("/a").StatusCode)
}

func TestAnswersThatVaryAreKeptApart(t *testing.T) {
	b := newBed(t)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		lang := r.Header.Get("Accept-Language")
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Cache-Control", "max-age=600")
		serveAs(w, r, random(lang, mib))
	})
	n := b.node()
	for range 2 {
		for _, lang := range []string{"de", "fr"} {
			n.get("/a", "Accept-Language", lang).require(t, http.StatusOK, random(lang, mib))
		}
	}
	require.EqualValues(t, 2*mib, b.origin.sent.Load())
}

func TestParametersThatNameNoContentDoNotKeepNodesApart(t *testing.T) {
	b := newBed(t)
	data := random("filter", 2*mib)
	b.origin.file(data, "v1")
	b.node().get("/a?sig=1&v=2", files.HeaderFilter, "sig,exp%69res").require(t, http.StatusOK, data)
	b.node().get("/a?v=2&sig=7&expires=9", files.HeaderFilter, "expires, sig").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
	b.node().get("/a?v=3", files.HeaderFilter, "sig").require(t, http.StatusOK, data)
	require.EqualValues(t, 2*len(data), b.origin.sent.Load())
}

func TestAFileOfAKnownDigestIsChecked(t *testing.T) {
	b := newBed(t)
	data := random("digest", 3*mib)
	b.origin.file(data, "v1")
	dgst := digest.FromBytes(data)
	got := b.node().get("/a", files.HeaderDigest, dgst.String())
	got.require(t, http.StatusOK, data)
	require.Equal(t, dgst.String(), got.Header.Get(files.HeaderTask))
	wrong, err := b.node().try(http.MethodGet, b.origin.URL+"/a", files.HeaderDigest, digest.FromString("other").String())
	require.True(t, err != nil || wrong.StatusCode != http.StatusOK, "all of a wrong file came")
}

func TestAFreshFileIsServedWithoutAskingItsSource(t *testing.T) {
	b := newBed(t)
	data := random("fresh", mib)
	b.origin.file(data, "v1", "Cache-Control", "max-age=600")
	n := b.node()
	n.get("/a").require(t, http.StatusOK, data)
	asked := b.origin.asked.Load()
	n.get("/a").require(t, http.StatusOK, data)
	require.Equal(t, asked, b.origin.asked.Load())
	n.get("/a", "Cache-Control", "no-cache").require(t, http.StatusOK, data)
	require.Greater(t, b.origin.asked.Load(), asked)
	got := n.get("/a", "If-None-Match", `"v1"`)
	got.require(t, http.StatusNotModified, nil)
}

func TestWhatIsKnownIsServedWhileItsSourceIsDown(t *testing.T) {
	b := newBed(t)
	data := random("stale", 2*mib)
	b.origin.file(data, "v1")
	n := b.node()
	got := n.get("/a")
	got.require(t, http.StatusOK, data)
	require.Empty(t, got.Header.Get("Warning"))
	for _, status := range []int{500, 503} {
		b.origin.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		got = n.get("/a")
		got.require(t, http.StatusOK, data)
		require.Contains(t, got.Header.Values("Warning"), `110 shoal "Response is Stale"`)
	}
	url := b.origin.URL
	b.origin.Close()
	got = n.get("/a")
	got.require(t, http.StatusOK, data)
	require.NotEmpty(t, got.Header.Get("Warning"))
	down, err := n.try(http.MethodGet, url+"/never-seen")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadGateway, down.StatusCode)
}

func TestWhatMustNotBeStaleIsNot(t *testing.T) {
	for _, rule := range []string{"must-revalidate", "no-cache", "stale-if-error=0, must-revalidate"} {
		b := newBed(t)
		b.origin.file(random("strict", mib), "v1", "Cache-Control", rule)
		n := b.node()
		require.Equal(t, http.StatusOK, n.get("/a").StatusCode)
		b.origin.Close()
		require.Equal(t, http.StatusBadGateway, n.get("/a").StatusCode, rule)
	}
}

func TestARefusalIsNeverPaperedOver(t *testing.T) {
	b := newBed(t)
	b.origin.file(random("refused", mib), "v1")
	n := b.node()
	require.Equal(t, http.StatusOK, n.get("/a").StatusCode)
	for _, status := range []int{401, 403, 404} {
		b.origin.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		require.Equal(t, status, n.get("/a").StatusCode)
	}
}

func TestHeadTellsWhatGetWould(t *testing.T) {
	b := newBed(t)
	data := random("head", mib)
	b.origin.file(data, "v1")
	got, err := b.node().try(http.MethodHead, b.origin.URL+"/a")
	require.NoError(t, err)
	got.require(t, http.StatusOK, nil)
	require.EqualValues(t, len(data), got.ContentLength)
	require.Zero(t, b.origin.sent.Load())
}

func TestBadRequestsAreRefused(t *testing.T) {
	b := newBed(t)
	b.origin.file(random("bad", 10), "v1")
	n := b.node()
	for name, header := range map[string][]string{
		"mode":   {files.HeaderGet, "bittorrent"},
		"digest": {files.HeaderDigest, "sha256:zz"},
		"filter": {files.HeaderFilter, "%zz"},
	} {
		require.Equal(t, http.StatusBadRequest, n.get("/a", header...).StatusCode, name)
	}
	got, err := n.try(http.MethodPost, b.origin.URL+"/a")
	require.NoError(t, err)
	require.Equal(t, http.StatusMethodNotAllowed, got.StatusCode)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, n.get("/a", "X-Long", strings.Repeat("x", 60<<10)).StatusCode)
	require.Zero(t, b.origin.asked.Load())
}

func TestASupernodeReadsOnlyWhatTheIDSays(t *testing.T) {
	r := (&bed{t: t}).resolver()
	for _, file := range []string{"", "{}", "nonsense", `{"url":"http://127.0.0.1/a","size":5}`, `{"url":"file:///etc/passwd"}`} {
		_, _, err := files.Source(r, p2p.Origin{File: file}, piece.FileID("x")).Open(t.Context(), 0, 0)
		require.Error(t, err, file)
	}
}

func TestWithoutASupernodeFilesComeFromTheirSource(t *testing.T) {
	b := newBed(t)
	data := random("alone", 5*mib)
	b.origin.file(data, "v1")
	n := b.node(func(c *p2p.Config) { c.Supernode, c.Advertise = "", "" })
	n.get("/a").require(t, http.StatusOK, data)
	n.get("/a").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
}

func TestADeadSupernodeCostsNothing(t *testing.T) {
	b := newBed(t)
	data := random("dead", 5*mib)
	b.origin.file(data, "v1")
	n := b.node()
	b.super()
	n.get("/a").require(t, http.StatusOK, data)
}

func TestWhatIsKnownOutlivesTheAgent(t *testing.T) {
	b := newBed(t)
	data := random("restart", 2*mib)
	b.origin.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		serveAs(w, r, data)
	})
	dir := t.TempDir()
	kept := func(n *node) *node {
		var err error
		n.files, err = files.New(files.Config{Node: n.Node, Resolver: b.resolver(), Metrics: metrics.New(), Dir: dir})
		require.NoError(t, err)
		return n
	}
	first := kept(b.node())
	first.get("/a", "Authorization", "secret").require(t, http.StatusOK, data)
	first.get("/a").require(t, http.StatusOK, data)
	b.origin.Close()
	second := kept(first)
	for _, header := range [][]string{{"Authorization", "secret"}, nil} {
		got := second.get("/a", header...)
		got.require(t, http.StatusOK, data)
		require.NotEmpty(t, got.Header.Get("Warning"))
	}
	require.Equal(t, http.StatusBadGateway, second.get("/a", "Authorization", "other").StatusCode)
	require.Equal(t, http.StatusBadGateway, second.get("/a", "Accept-Language", "de").StatusCode)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.NotContains(t, string(text), "secret")
		require.NoError(t, os.WriteFile(filepath.Join(dir, e.Name()), []byte("{nonsense"), 0o600))
	}
	require.Equal(t, http.StatusBadGateway, kept(second).get("/a").StatusCode)
}

func TestDownloadsAreKeptWhereTheyAreAskedFor(t *testing.T) {
	b := newBed(t)
	data := random("kept", 5*mib)
	b.origin.file(data, "v1")
	n, keeps := b.node(), b.node()
	got := n.get("/a", files.HeaderGet, "p2p")
	got.require(t, http.StatusOK, data)
	keeps.get("/a", files.HeaderGet, "p2p", files.HeaderKeep, "1").require(t, http.StatusOK, data)
	id := digest.Digest(got.Header.Get(files.HeaderTask))
	require.Eventually(t, func() bool { return bytes.Equal(data, keeps.store.Get(id)) }, 10*time.Second, time.Millisecond)
	require.Empty(t, n.store.Get(id), "the client has it")
	n.get("/a", files.HeaderGet, "p2p").require(t, http.StatusOK, data)
	require.EqualValues(t, len(data), b.origin.sent.Load())
}
