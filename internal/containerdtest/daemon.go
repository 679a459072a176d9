package containerdtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/stretchr/testify/require"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	logTail      = 16 << 10 // bytes of the log shown when a test fails
)

// Options says which containerd to run, and how.
type Options struct {
	// Binary is containerd's path; "" means the first of [Binaries].
	Binary string
	// Config is TOML (config version 2) added to the daemon's.
	Config string
}

// Daemon is a running containerd.
type Daemon struct {
	Binary      string
	Version     string // e.g. "v2.4.2"
	Address     string // its socket
	Root        string // its directory
	ContentPath string // of its content store

	config, log string
	cmd         *exec.Cmd
	exited      chan error
}

// Binaries returns the containerds to test with. It skips the test if there is
// none, or if this process may not run one.
func Binaries(t testing.TB) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containerd needs root: run the tests as root to include this one")
	}
	if list := os.Getenv("SHOAL_CONTAINERD"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		t.Skip("no containerd in PATH and SHOAL_CONTAINERD is not set: install containerd to include this test")
	}
	return []string{path}
}

// Each runs test against a fresh daemon of each of [Binaries].
func Each(t *testing.T, test func(t *testing.T, d *Daemon)) {
	t.Helper()
	for _, binary := range Binaries(t) {
		t.Run(version(t, binary), func(t *testing.T) { test(t, Start(t, Options{Binary: binary})) })
	}
}

// Start runs a daemon until the test ends. If the test fails, the end of the
// daemon's log is printed.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	if o.Binary == "" {
		o.Binary = Binaries(t)[0]
	}
	// Not t.TempDir: a socket's path has to be short.
	run, err := os.MkdirTemp("", "ctrd")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	d := &Daemon{
		Binary:  o.Binary,
		Version: version(t, o.Binary),
		Address: filepath.Join(run, "c.sock"),
		Root:    filepath.Join(t.TempDir(), "root"),
		config:  filepath.Join(run, "config.toml"),
		log:     filepath.Join(run, "log"),
	}
	d.ContentPath = filepath.Join(d.Root, "io.containerd.content.v1.content")
	// The plugins' names of 1.x and of 2.x.
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
imports = []
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = %q
[ttrpc]
  address = %q
%s
`, d.Root, filepath.Join(run, "state"), d.Address, d.Address+".ttrpc", o.Config)
	require.NoError(t, os.WriteFile(d.config, []byte(config), 0o600))
	t.Cleanup(func() {
		d.Stop(t)
		if t.Failed() {
			t.Logf("the end of containerd's log:\n%s", d.tail())
		}
	})
	d.Start(t)
	return d
}

// Start runs the daemon again after Stop or Kill, and waits until it answers.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer out.Close()
	cmd := exec.Command(d.Binary, "--config", d.config) //nolint:gosec // the test's own
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(d.Binary)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	d.cmd, d.exited = cmd, make(chan error, 1)
	go func() { d.exited <- cmd.Wait() }()

	c := d.client(t)
	defer c.Close()
	for deadline := time.Now().Add(startTimeout); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Version(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case err := <-d.exited:
			d.cmd = nil
			require.FailNow(t, "containerd ended", "%v\n%s", err, d.tail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "containerd does not answer", "%v\n%s", err, d.tail())
		}
	}
}

// Stop ends the daemon in good order; one that has ended already is fine.
func (d *Daemon) Stop(t testing.TB) { d.end(t, syscall.SIGTERM) }

// Kill ends the daemon as a crash would.
func (d *Daemon) Kill(t testing.TB) { d.end(t, syscall.SIGKILL) }

func (d *Daemon) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(sig)
	select {
	case <-d.exited: //nolint:errcheck // how it ended does not matter
	case <-time.After(stopTimeout):
		t.Errorf("containerd did not end within %v of %v", stopTimeout, sig)
		_ = d.cmd.Process.Kill()
		<-d.exited //nolint:errcheck // as above
	}
	d.cmd = nil
}

// Client connects to the daemon until the test ends.
func (d *Daemon) Client(t testing.TB) *client.Client {
	t.Helper()
	c := d.client(t)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *Daemon) client(t testing.TB) *client.Client {
	t.Helper()
	c, err := client.New(d.Address, client.WithTimeout(100*time.Millisecond))
	require.NoError(t, err)
	return c
}

// Ctr is a call of the ctr that lies beside the daemon's binary.
func (d *Daemon) Ctr(ctx context.Context, namespace string, args ...string) *exec.Cmd {
	args = append([]string{"--address", d.Address, "--namespace", namespace}, args...)
	return exec.CommandContext(ctx, filepath.Join(filepath.Dir(d.Binary), "ctr"), args...) //nolint:gosec // the test's own
}

func (d *Daemon) tail() []byte {
	b, _ := os.ReadFile(d.log)
	return bytes.TrimSpace(b[max(0, len(b)-logTail):])
}

// version asks a binary for its version.
func version(t testing.TB, binary string) string {
	t.Helper()
	out, err := exec.Command(binary, "--version").Output() //nolint:gosec // the test's own
	require.NoError(t, err, "%s --version", binary)
	fields := strings.Fields(string(out)) // containerd <module> <version> <commit>
	require.GreaterOrEqual(t, len(fields), 3, "%s --version says %q", binary, out)
	return fields[2]
}
