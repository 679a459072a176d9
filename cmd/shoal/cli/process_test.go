package cli

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-p2p/shoal/internal/freeport"
	"github.com/stretchr/testify/require"
)

// TestMain is the program itself where a test starts it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("SHOAL_TEST_MAIN") != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

func freeAddr(t *testing.T) string {
	addrs, err := freeport.Addrs(1)
	require.NoError(t, err)
	return addrs[0]
}

// process is a running shoal. Its lines end when it does.
type process struct {
	*exec.Cmd
	lines chan string
}

func start(t *testing.T, args ...string) *process {
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{Cmd: exec.Command(exe, args...), lines: make(chan string, 1000)}
	p.Env = append(os.Environ(), "SHOAL_TEST_MAIN=1")
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	return p
}

// until waits for a line, or with "" for the end.
func (p *process) until(t *testing.T, want string) {
	t.Helper()
	var all []string
	for timeout := time.After(15 * time.Second); ; {
		select {
		case line, ok := <-p.lines:
			all = append(all, line)
			if !ok && want == "" {
				return
			}
			require.True(t, ok, "ended before it said %q: %s", want, strings.Join(all, "\n"))
			if want != "" && strings.Contains(line, want) {
				return
			}
		case <-timeout:
			require.Fail(t, "no "+want, strings.Join(all, "\n"))
		}
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		mirror := freeAddr(t)
		p := start(t, "up", "--listen", freeAddr(t), "--mirror-listen", mirror, "--admin-listen", freeAddr(t),
			"--data-dir", t.TempDir(), "--shutdown-grace", "1h")
		p.until(t, "Stop with Ctrl-C")
		conn, err := net.Dial("tcp", mirror)
		require.NoError(t, err)
		defer conn.Close()
		// One request that ends, and right behind it one that does not: its
		// server waits for the rest of the body.
		_, err = conn.Write([]byte("GET /v2/ HTTP/1.1\r\nHost: shoal\r\n\r\nPOST /v2/ HTTP/1.1\r\nHost: shoal\r\nContent-Length: 2\r\n\r\n{"))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, p.Process.Signal(signal))
		p.until(t, "stopping")
		require.NoError(t, p.Process.Signal(signal))
		p.until(t, "")
	}
}

func TestASupernodeStopsInOrder(t *testing.T) {
	listen := freeAddr(t)
	p := start(t, "supernode", "--listen", listen, "--data-dir", t.TempDir())
	p.until(t, "shoal agent --supernodes "+listen)
	out, err := shoal("status", "--admin", listen)
	require.NoError(t, err)
	require.Contains(t, out, "this one")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.until(t, "")
	require.NoError(t, p.Wait())
}
