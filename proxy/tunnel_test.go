package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/proxy"
)

// echo sends back what it gets, and ends when the other side does.
func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_, _ = io.WriteString(c, "end")
}

func TestATunnelPassesBytesAndEnds(t *testing.T) {
	addr := listener(t, echo)
	for name, option := range map[string]func(*proxy.Config){
		"outside the rules":   func(*proxy.Config) {},
		"where TLS is opened": intercepting(t, `.`, ""),
	} {
		b := newBed(t, option)
		c := b.connect(addr)
		text := strings.Repeat("neither TLS nor HTTP ", 50_000)
		go func() {
			_, _ = io.WriteString(c, text)
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		require.NoError(t, err, name)
		require.Equal(t, text+"end", string(got), name)
	}
}

func TestWhatComesWithCONNECTIsPassedOn(t *testing.T) {
	addr := listener(t, echo)
	for name, option := range map[string]func(*proxy.Config){
		"outside the rules":   func(*proxy.Config) {},
		"where TLS is opened": intercepting(t, `.`, ""),
	} {
		c := newBed(t, option).dial()
		c.say("CONNECT " + addr + " HTTP/1.1\r\nHost: x\r\n\r\nat once")
		require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 Connection established\r\n\r\nat onceend", string(got), name)
	}
}

func TestAServerMaySpeakFirst(t *testing.T) {
	addr := listener(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 ready\r\n")
		echo(c)
	})
	c := newBed(t, intercepting(t, `.`, "")).connect(addr)
	line, err := c.r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "220 ready\r\n", line)
	c.say("EHLO\n")
	line, err = c.r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "EHLO\n", line)
}

func TestCONNECTHasNoContent(t *testing.T) {
	addr := listener(t, echo)
	for _, head := range []string{"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"} {
		c := newBed(t).dial()
		c.say("CONNECT " + addr + " HTTP/1.1\r\nHost: x\r\n" + head + "\r\n0\r\n\r\n")
		require.Equal(t, http.StatusBadRequest, c.hear().StatusCode)
	}
	c := newBed(t).dial()
	c.say("CONNECT nonsense HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, http.StatusBadRequest, c.hear().StatusCode)
}

func TestAnIdleTunnelIsClosed(t *testing.T) {
	addr := listener(t, echo)
	b := newBed(t, func(c *proxy.Config) { c.IdleTimeout = 50 * time.Millisecond })
	c := b.connect(addr)
	c.say("x")
	one, err := c.r.ReadByte()
	require.NoError(t, err)
	require.EqualValues(t, 'x', one)
	_, err = c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestTheEndOfTheProxyEndsItsTunnels(t *testing.T) {
	addr := listener(t, echo)
	o := origin(t, (*httptest.Server).StartTLS)
	b := newBed(t, intercepting(t, regexOf(o), certOf(t, o)))
	c := b.connect(addr)
	client := b.client()
	require.Equal(t, http.StatusOK, b.get(client, o.URL).StatusCode) // and stays open
	b.stop()
	_, err := c.r.ReadByte()
	require.Error(t, err)
}

func TestDrainWaitsForWhatMoves(t *testing.T) {
	addr := listener(t, echo)
	b := newBed(t)
	idle, busy := b.connect(addr), b.connect(addr)
	stop := make(chan struct{})
	moving := make(chan struct{})
	go func() {
		defer close(moving)
		one := make([]byte, 1)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := busy.Conn.Write(one); err != nil {
				return
			}
			if _, err := io.ReadFull(busy.Conn, one); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- b.proxy.Drain(ctx) }()
	_, err := idle.r.ReadByte()
	require.ErrorIs(t, err, io.EOF, "nothing moves there")
	select {
	case err := <-drained:
		require.Fail(t, "it did not wait", "%v", err)
	default:
	}
	close(stop)
	<-moving
	busy.Close()
	require.NoError(t, <-drained)
	cancel()
}

// upgrading is a server that speaks another protocol once it is asked to.
func upgrading(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	line, _ := rw.ReadString('\n')
	_, _ = io.WriteString(c, "you said "+line)
	_, _ = rw.ReadByte() // until the client leaves
}

func TestAnotherProtocolIsTunnelled(t *testing.T) {
	plain, secure := httptest.NewServer(http.HandlerFunc(upgrading)), httptest.NewTLSServer(http.HandlerFunc(upgrading))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	b := newBed(t, intercepting(t, regexOf(secure), certOf(t, secure)), func(c *proxy.Config) { c.IdleTimeout = 50 * time.Millisecond })

	overTLS := func() *conn {
		c := b.connect(secure.Listener.Addr().String())
		inner := tls.Client(c, &tls.Config{RootCAs: b.ca, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
		return &conn{inner, t, bufio.NewReader(inner)}
	}
	for name, c := range map[string]*conn{plain.URL: b.dial(), "": overTLS()} {
		c.say("GET " + name + "/chat HTTP/1.1\r\nHost: " + secure.Listener.Addr().String() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		resp, err := http.ReadResponse(c.r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
		c.say("hello\n")
		line, err := c.r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "you said hello\n", line)
		_, err = c.r.ReadByte()
		require.Error(t, err, "it is closed when idle")
	}
}
