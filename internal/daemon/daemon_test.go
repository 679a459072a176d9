package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

func freeAddr(t *testing.T) string {
	addrs, err := freeport.Addrs(1)
	require.NoError(t, err)
	return addrs[0]
}

func TestARunningRequestIsServedToItsEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	addr := freeAddr(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	clientsServed := make(chan struct{})
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Servers: []Server{{Name: "mirror", Key: "k", Addr: addr, Clients: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(entered)
				<-release
				_, _ = w.Write([]byte("all of it"))
				close(clientsServed)
			})}},
			Run: func(ctx context.Context) error {
				<-ctx.Done()
				<-clientsServed // the work ends after the clients
				return nil
			},
			Grace: time.Minute,
			Ready: func([]net.Addr) { close(ready) },
		})
	}()
	<-ready
	got := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + addr)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	<-entered
	stop()
	close(release)
	require.Equal(t, "all of it", <-got)
	require.NoError(t, <-done)
}

func TestSIGTERMEndsTheDaemon(t *testing.T) {
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		ctx, stop := UntilSignal(t.Context())
		defer stop()
		done <- Run(ctx, Config{
			Servers: []Server{{Name: "peer port", Key: "k", Addr: freeAddr(t), Handler: http.NotFoundHandler()}},
			Run:     func(ctx context.Context) error { <-ctx.Done(); return nil },
			Grace:   time.Second,
			Ready:   func([]net.Addr) { close(ready) },
		})
	}()
	<-ready
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	require.NoError(t, <-done)
}

func TestReadyIsToldWhatIsBound(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var bound []net.Addr
	require.NoError(t, Run(ctx, Config{
		Servers: []Server{{Addr: "127.0.0.1:0", Handler: http.NotFoundHandler()}, {Addr: "[::1]:0", Handler: http.NotFoundHandler()}},
		Run:     func(ctx context.Context) error { <-ctx.Done(); return nil },
		Ready:   func(addrs []net.Addr) { bound = addrs; stop() },
	}))
	require.Len(t, bound, 2)
	require.Equal(t, "::1", bound[1].(*net.TCPAddr).IP.String())
	require.NotZero(t, bound[0].(*net.TCPAddr).Port)
}

func TestAnAddressInUseIsNamedWithItsKey(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	err = Run(t.Context(), Config{
		Servers: []Server{
			{Name: "a", Key: "peer.listen", Addr: freeAddr(t)},
			{Name: "b", Key: "mirror.listen", Addr: l.Addr().String()},
		},
		Run: func(context.Context) error { t.Error("ran although it cannot serve"); return nil },
	})
	require.ErrorContains(t, err, "is in use by another process")
	require.ErrorContains(t, err, "mirror.listen")
}
