package docker

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/undo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a socket that answers as dockerd does.
func daemon(t *testing.T, handler http.HandlerFunc) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dockerd") // not t.TempDir: the paths of sockets are short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(handler)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

func TestADaemonSaysHowItPulls(t *testing.T) {
	socket := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/info", r.URL.Path)
		w.Header().Set("Api-Version", "1.41")
		_, _ = w.Write([]byte(`{"ServerVersion":"20.10.24+dfsg1","HttpProxy":"http://a:1","HttpsProxy":"http://xxxxx:xxxxx@b:2","NoProxy":"c",
			"RegistryConfig":{"Mirrors":["http://127.0.0.1:65001/"]},"Images":7}`))
	})
	d, err := Ask(t.Context(), socket)
	require.NoError(t, err)
	require.Equal(t, &Daemon{
		Version: "20.10.24+dfsg1", API: "1.41", Mirrors: []string{"http://127.0.0.1:65001/"},
		HTTPProxy: "http://a:1", HTTPSProxy: "http://xxxxx:xxxxx@b:2", NoProxy: "c",
	}, d)
}

func TestADaemonThatDoesNotSay(t *testing.T) {
	_, err := Ask(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	for want, handler := range map[string]http.HandlerFunc{
		"503":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"unexpected": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"Images":`)) },
		"EOF": func(w http.ResponseWriter, _ *http.Request) { // more than is read
			_, _ = w.Write([]byte(`{"ServerVersion":"` + strings.Repeat("x", maxInfo) + `"}`))
		},
	} {
		_, err := Ask(t.Context(), daemon(t, handler))
		require.ErrorContains(t, err, want)
	}
}

func TestWhichDaemonsKnowProxies(t *testing.T) {
	says := func(text string) Options {
		file := filepath.Join(t.TempDir(), "dockerd")
		require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\necho '"+text+"'\n"), 0o755))
		return Options{Binary: file}
	}
	serves := func(api string) Options {
		return Options{Socket: daemon(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", api)
			_, _ = w.Write([]byte(`{"ServerVersion":"library-import"}`))
		})}
	}
	for name, c := range map[string]struct {
		o    Options
		want bool
	}{
		"told 20.10":   {Options{Version: "20.10.24+dfsg1"}, false},
		"told 23":      {Options{Version: "23"}, true},
		"told v28.5.1": {Options{Version: "v28.5.1"}, true},
		"asks 20.10":   {says("Docker version 20.10.24+dfsg1, build 5d6db84"), false},
		"asks 29.0.0":  {says("Docker version 29.0.0, build 3d4129b"), true},
		"runs 20.10":   {serves("1.41"), false},
		"runs 23.0":    {serves("1.42"), true},
		"runs a build": {serves("1.56"), true},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := undo.NewTree("/")
			require.NoError(t, err)
			knows, err := knowsProxies(t.Context(), tree, c.o)
			require.NoError(t, err)
			require.Equal(t, c.want, knows)
		})
	}
	tree, err := undo.NewTree("/")
	require.NoError(t, err)
	_, err = knowsProxies(t.Context(), tree, says("Docker version library-import, build library-import"))
	require.ErrorContains(t, err, "--docker-version")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = knowsProxies(ctx, tree, says("Docker version 29.0.0"))
	require.ErrorIs(t, err, context.Canceled)
}
