package get

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// serve is a handler that serves content, by a version.
func serve(content []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// first answers the first requests otherwise than the others.
func first(handlers ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		handle := handlers[0]
		if len(handlers) > 1 {
			handlers = handlers[1:]
		}
		handle(w, r)
	}
}

// cutOff serves the start of content and breaks off.
func cutOff(content []byte, etag string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", etag)
		http.ServeContent(&short{w, n}, r, "", time.Time{}, bytes.NewReader(content))
	}
}

type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(b []byte) (int, error) {
	n, _ := s.ResponseWriter.Write(b[:min(len(b), s.left)])
	if s.left -= n; s.left == 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

var digits = []byte("0123456789")

func TestASourceWithoutLengthWorks(t *testing.T) {
	r := &recorder{handle: func(w http.ResponseWriter, _ *http.Request) {
		for _, d := range digits {
			_, _ = w.Write([]byte{d})
			_ = http.NewResponseController(w).Flush()
		}
	}}
	dir := t.TempDir()
	got, err := r.fetch(t, "http://h/a", dir, Options{})
	require.NoError(t, err)
	require.EqualValues(t, 10, got.Size)
	body, err := os.ReadFile(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, digits, body)
}

func TestAnEmptyFileWorks(t *testing.T) {
	r := &recorder{handle: serve(nil, `"1"`)}
	dir := t.TempDir()
	got, err := r.fetch(t, "http://h/a", dir, Options{})
	require.NoError(t, err)
	require.EqualValues(t, 0, got.Size)
	require.FileExists(t, filepath.Join(dir, "a"))
}

func TestRanges(t *testing.T) {
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(digits) }
	for _, handle := range []http.HandlerFunc{serve(digits, `"1"`), whole} {
		for s, want := range map[string]string{"2-4": "234", "7-": "789", "-2": "89", "8-99": "89", "0-0": "0", "-99": "0123456789"} {
			r := &recorder{handle: handle}
			var out bytes.Buffer
			_, err := r.fetch(t, "http://h/a", "-", Options{Range: parsed(t, s), Stdout: &out})
			require.NoError(t, err, s)
			require.Equal(t, want, out.String())
		}
		_, err := (&recorder{handle: handle}).fetch(t, "http://h/a", "-", Options{Range: parsed(t, "10-")})
		require.Equal(t, Refused, KindOf(err), err)
	}
}

func TestABrokenRangeGoesOnAsTheSameTask(t *testing.T) {
	for s, want := range map[string][2]string{
		"2-8": {"bytes=5-8", "bytes=2-8"}, "2-": {"bytes=5-9", "bytes=2-"}, "-8": {"bytes=5-9", "bytes=-8"},
	} {
		r := &recorder{handle: first(cutOff(digits, `"1"`, 3), serve(digits, `"1"`))}
		var out bytes.Buffer
		_, err := r.fetch(t, "http://h/a", "-", Options{Range: parsed(t, s), Stdout: &out, Retries: 1})
		require.NoError(t, err, s)
		h := r.requests[1].Header
		require.Equal(t, want, [2]string{h.Get("Range"), h.Get("Shoal-Resume")})
		base, size, _ := parsed(t, s).of(10)
		require.Equal(t, string(digits[base:base+size]), out.String())
	}
	r := &recorder{handle: first(cutOff(digits, `"1"`, 3), serve(digits, `"1"`))}
	_, err := r.fetch(t, "http://h/a", "-", Options{Retries: 1})
	require.NoError(t, err)
	require.Equal(t, "1", r.requests[1].Header.Get("Shoal-Resume"))
	require.Equal(t, `"1"`, r.requests[1].Header.Get("If-Range"))
}

func TestAStreamThatCannotGoOnFails(t *testing.T) {
	other := []byte("9876543210")
	r := &recorder{handle: first(cutOff(digits, `"1"`, 3), serve(other, `"2"`))}
	var out bytes.Buffer
	_, err := r.fetch(t, "http://h/a", "-", Options{Stdout: &out, Retries: 5})
	require.ErrorContains(t, err, "the file changed at the source")
	require.Equal(t, Unreachable, KindOf(err))
	require.Equal(t, "012", out.String())
}

func TestAFileThatChangesIsNeverMixed(t *testing.T) {
	other := []byte("9876543210")
	r := &recorder{handle: first(cutOff(digits, `"1"`, 3), cutOff(other, `"2"`, 4), serve(other, `"2"`))}
	dir := t.TempDir()
	got, err := r.fetch(t, "http://h/a", dir, Options{Retries: 1})
	require.NoError(t, err)
	body, err := os.ReadFile(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, other, body)
	require.EqualValues(t, 13, got.Came)
}

func TestTriesInWhichBytesComeAreNotCounted(t *testing.T) {
	r := &recorder{handle: cutOff(digits, `"1"`, 1)}
	_, err := r.fetch(t, "http://h/a", "-", Options{Retries: 1})
	require.NoError(t, err)
	require.Len(t, r.requests, 10)

	r = &recorder{handle: first(cutOff(digits, `"1"`, 3), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
	_, err = r.fetch(t, "http://h/a", "-", Options{Retries: 2})
	require.Equal(t, Unreachable, KindOf(err))
	require.Len(t, r.requests, 3, "the first, and two more")
}

func TestPausesDoubleAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		r := &recorder{handle: func(w http.ResponseWriter, _ *http.Request) {
			at = append(at, time.Since(start))
			w.WriteHeader(http.StatusServiceUnavailable)
		}}
		_, err := r.get(t, t.Context(), "http://h/a", "-", Options{Retries: 7, RetryDelay: time.Second})
		require.Equal(t, Unreachable, KindOf(err))
		require.Equal(t, []time.Duration{0, 1e9, 3e9, 7e9, 15e9, 31e9, 61e9, 91e9}, at)
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &recorder{handle: first(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "100")
			w.WriteHeader(http.StatusTooManyRequests)
		}, serve(digits, `"1"`))}
		_, err := r.get(t, t.Context(), "http://h/a", "-", Options{Retries: 1})
		require.NoError(t, err)
		require.Equal(t, 100*time.Second, time.Since(start))
	})
}

func TestASourceThatStallsIsAskedAgain(t *testing.T) {
	stall := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	stallAfter := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Etag", `"1"`)
		_, _ = w.Write(digits[:4])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &recorder{handle: first(stall, stallAfter, serve(digits, `"1"`))}
		var out bytes.Buffer
		_, err := r.get(t, t.Context(), "http://h/a", "-", Options{Retries: 1, Stall: time.Minute, Stdout: &out})
		require.NoError(t, err)
		require.Equal(t, digits, out.Bytes())
		require.Equal(t, 2*time.Minute, time.Since(start).Truncate(time.Second))
	})
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{handle: stall}
		_, err := r.get(t, t.Context(), "http://h/a", "-", Options{Retries: 1, Stall: time.Minute})
		require.Equal(t, Timeout, KindOf(err), err)
		require.ErrorContains(t, err, "nothing came for 1m0s")
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &recorder{handle: serve(make([]byte, 10<<20), `"1"`)}
		_, err := r.get(t, t.Context(), "http://h/a", "-", Options{Rate: 1 << 20, Stall: 200 * time.Millisecond})
		require.NoError(t, err, "waiting for the rate is no stall")
		require.InDelta(t, 9.9, time.Since(start).Seconds(), 0.01)
	})
}

func TestATimeoutKeepsThePart(t *testing.T) {
	for name, o := range map[string]Options{"while nothing comes": {}, "while the rate is kept": {Rate: 4}} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			handle := serve(digits, `"1"`)
			if o.Rate == 0 {
				handle = func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Etag", `"1"`)
					_, _ = w.Write(digits[:4])
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
			defer cancel()
			_, err := (&recorder{handle: handle}).get(t, ctx, "http://h/a", dir, o)
			require.Equal(t, Timeout, KindOf(err), "%s: %v", name, err)
			left, err := os.ReadFile(filepath.Join(dir, ".a.shoal-part"))
			require.NoError(t, err)
			require.Equal(t, digits[:4], left)
		})
	}
}

func TestAnInterruptionKeepsThePart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	r := &recorder{handle: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		_, _ = w.Write(digits[:4])
		_ = http.NewResponseController(w).Flush()
		for size := int64(0); size < 4; {
			info, err := os.Stat(filepath.Join(dir, ".a.shoal-part"))
			if r.Context().Err() != nil {
				return
			}
			if err == nil {
				size = info.Size()
			}
		}
		cancel()
		<-r.Context().Done()
	}}
	_, err := r.get(t, ctx, "http://h/a", dir, Options{Retries: 5})
	require.Equal(t, Interrupted, KindOf(err), err)
	require.ErrorContains(t, err, "the part that came is kept")
	require.Empty(t, r.notes)

	r = &recorder{handle: serve(digits, `"1"`)}
	got, err := r.fetch(t, "http://h/a", dir, Options{})
	require.NoError(t, err)
	require.EqualValues(t, 6, got.Came)
	_, err = r.get(t, ctx, "http://h/a", dir, Options{})
	require.Equal(t, Interrupted, KindOf(err), "before it began")
}

func TestTheSourceIsOnlyReadAsFarAsTheRange(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(digits); err != nil {
				return
			}
		}
	}
	r := &recorder{handle: endless}
	var out bytes.Buffer
	_, err := r.fetch(t, "http://h/a", "-", Options{Range: parsed(t, "3-12"), Stdout: &out})
	require.NoError(t, err)
	require.Equal(t, "3456789012", out.String())
}

func TestAWriterThatFails(t *testing.T) {
	r := &recorder{handle: serve(digits, `"1"`)}
	_, err := r.fetch(t, "http://h/a", "/dev/full", Options{Retries: 5})
	require.Equal(t, Local, KindOf(err), err)
	require.ErrorContains(t, err, "make room")
	require.Len(t, r.requests, 1)
	reader, writer := io.Pipe()
	reader.Close()
	_, err = r.fetch(t, "http://h/a", "-", Options{Stdout: writer})
	require.Equal(t, Local, KindOf(err), err)
}

func TestTheEngineHearsTheDigest(t *testing.T) {
	right, md5 := digest.FromBytes(digits), digest.NewDigestFromEncoded("md5", "781e5e245d69b566979b86e28d23f2c7")
	r := &recorder{handle: serve(digits, `"1"`)}
	_, err := r.fetch(t, "http://h/a", "-", Options{Digests: []digest.Digest{md5, right}})
	require.NoError(t, err)
	_, err = r.fetch(t, "http://h/a", "-", Options{Digests: []digest.Digest{md5}})
	require.NoError(t, err)
	_, err = r.fetch(t, "http://h/a", "-", Options{Digests: []digest.Digest{digest.FromBytes(digits[1:])}, Range: parsed(t, "1-")})
	require.NoError(t, err)
	for i, want := range []string{right.String(), "", ""} {
		require.Equal(t, want, r.requests[i].Header.Get("Shoal-Digest"))
	}
}

func TestAWrongDigestIsToldApartFromAnEngineThatFails(t *testing.T) {
	// As an agent does: it cuts the file before its end, and says why afterwards.
	cut := cutOff(digits, `"1"`, 8)
	said := false
	r := &recorder{handle: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Shoal-Digest") == "":
			serve(digits, `"1"`)(w, r)
		case said:
			http.Error(w, "the upstream sent wrong bytes", http.StatusBadGateway)
		default:
			said = true
			cut(w, r)
		}
	}}
	dir := t.TempDir()
	_, err := r.fetch(t, "http://h/a", dir, Options{Digests: []digest.Digest{digest.FromString("x")}, Retries: 1})
	require.Equal(t, Mismatch, KindOf(err), err)
	require.Len(t, r.requests, 3)
	require.Equal(t, "bytes=8-9", r.requests[2].Header.Get("Range"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
