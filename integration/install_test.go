//go:build e2e

package integration

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shoal-p2p/shoal/integration/testimage"
	"github.com/shoal-p2p/shoal/internal/registrytest"
)

// nowhere is a registry that cannot be reached: what is pulled from it comes
// from the mirror.
const nowhere = "registry.invalid"

// machine is a containerd with CRI whose /etc/containerd is a folder of its own.
type machine struct {
	bin, root string // containerd's folder, and what stands for /
	cmd       *exec.Cmd
}

func newMachine(t *testing.T, bin string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root")
	}
	root, err := os.MkdirTemp("", "ctrd") // not t.TempDir: the paths of sockets are short
	require.NoError(t, err)
	m := &machine{bin: bin, root: root}
	t.Cleanup(func() {
		m.stop(t)
		if t.Failed() {
			log, _ := os.ReadFile(m.at("log"))
			t.Logf("containerd's log:\n%s", log[max(0, len(log)-6000):])
		}
		require.NoError(t, os.RemoveAll(root))
	})
	return m
}

func (m *machine) at(path string) string { return filepath.Join(m.root, path) }

func (m *machine) program(name string) string { return filepath.Join(m.bin, name) }

func (m *machine) write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(m.at(path)), 0o755))
	require.NoError(t, os.WriteFile(m.at(path), []byte(text), 0o644))
}

// shoal runs a command of the built binary for this machine.
func (m *machine) shoal(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../bin/shoal", append(args, "--root", m.root)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func (m *machine) install(t *testing.T, mirror string, args ...string) string {
	t.Helper()
	return m.shoal(t, append([]string{"install", "containerd", "--mirror", mirror, "--containerd", m.program("containerd")}, args...)...)
}

// start starts containerd in a mount namespace, with its files where it looks
// for them by default.
func (m *machine) start(t *testing.T) {
	t.Helper()
	m.stop(t)
	for _, dir := range []string{"etc/containerd", "data", "run"} {
		require.NoError(t, os.MkdirAll(m.at(dir), 0o755))
	}
	if _, err := os.Stat(m.at("etc/hosts")); err != nil {
		m.write(t, "etc/hosts", "127.0.0.1 localhost\n")
	}
	for _, dir := range []string{"/etc/containerd", "/run/containerd"} {
		require.NoError(t, os.MkdirAll(dir, 0o711)) // what is mounted on
	}
	script := fmt.Sprintf(`set -e
mount --bind %[1]s/etc/containerd /etc/containerd
mount --bind %[1]s/run /run/containerd
mount --bind %[1]s/etc/hosts /etc/hosts
exec %[2]s --root %[1]s/data --state /run/containerd/state`, m.root, m.program("containerd"))
	log, err := os.OpenFile(m.at("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	m.cmd = exec.Command("unshare", "--mount", "--", "sh", "-c", script)
	m.cmd.Env = append(os.Environ(), "PATH="+m.bin+":"+os.Getenv("PATH"))
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, m.cmd.Start())
	require.Eventually(t, func() bool {
		_, err := m.images(t).ListImages(t.Context(), &cri.ListImagesRequest{})
		return err == nil
	}, 30*time.Second, 100*time.Millisecond, "CRI does not answer")
}

func (m *machine) stop(t *testing.T) {
	t.Helper()
	if m.cmd == nil {
		return
	}
	require.NoError(t, m.cmd.Process.Signal(syscall.SIGTERM))
	_ = m.cmd.Wait()
	m.cmd = nil
}

func (m *machine) images(t *testing.T) cri.ImageServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+m.at("run/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return cri.NewImageServiceClient(conn)
}

// pull pulls as the kubelet does, and removes the image again.
func (m *machine) pull(t *testing.T, image string) error {
	t.Helper()
	spec := &cri.ImageSpec{Image: image}
	_, err := m.images(t).PullImage(t.Context(), &cri.PullImageRequest{Image: spec})
	if err == nil {
		_, err = m.images(t).RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: spec})
		require.NoError(t, err)
	}
	return err
}

// newMirror is a mirror that has an image, whatever registry it is asked for.
func newMirror(t *testing.T) *registrytest.Registry {
	t.Helper()
	m := registrytest.New(t)
	pushTo(t, m.Host()+"/test/app:v1", http.DefaultTransport)
	return m
}

func pushTo(t *testing.T, image string, transport http.RoundTripper) {
	t.Helper()
	img, err := testimage.Image(t.Name(), 1, mib)
	require.NoError(t, err)
	require.NoError(t, testimage.Push(image, img, transport))
}

// asked is how often a mirror was asked for something of a registry.
func asked(m *registrytest.Registry) int {
	n := 0
	for _, q := range m.Requests("") {
		if strings.Contains(q.Query, "ns=") {
			n++
		}
	}
	return n
}

// defaults is what "containerd config default" writes.
func (m *machine) defaults(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), m.program("containerd"), "config", "default").Output()
	require.NoError(t, err)
	return strings.ReplaceAll(string(out), `"/opt/containerd"`, `"`+m.at("opt")+`"`)
}

const kubeadm = `version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
`

// TestInstalledContainerdPullsThroughTheMirror starts with the configurations
// that machines have, and pulls as the kubelet does.
func TestInstalledContainerdPullsThroughTheMirror(t *testing.T) {
	for version, bin := range containerds(t) {
		for name, config := range map[string]func(t *testing.T, m *machine){
			"no configuration": func(*testing.T, *machine) {},
			"the default one":  func(t *testing.T, m *machine) { m.write(t, "etc/containerd/config.toml", m.defaults(t)) },
			"that of kubeadm":  func(t *testing.T, m *machine) { m.write(t, "etc/containerd/config.toml", kubeadm) },
			"a registry's own": func(t *testing.T, m *machine) {
				m.write(t, "etc/containerd/certs.d/"+nowhere+"/hosts.toml", "[host.\"http://127.0.0.1:1\"]\n")
			},
			"a folder of files": func(t *testing.T, m *machine) {
				m.write(t, "etc/containerd/config.toml", "imports = [\"/etc/containerd/conf.d/*.toml\"]\n"+kubeadm)
				m.write(t, "etc/containerd/conf.d/limits.toml", "version = 2\noom_score = 1\n")
			},
		} {
			t.Run(version+", "+name, func(t *testing.T) {
				m, mirror := newMachine(t, bin), newMirror(t)
				config(t, m)
				before := list(t, m.root)
				said := m.install(t, mirror.URL)
				m.start(t)
				require.NoError(t, m.pull(t, nowhere+"/test/app:v1"), said)
				require.Positive(t, asked(mirror))

				m.stop(t)
				m.shoal(t, "uninstall", "containerd")
				require.Equal(t, before, list(t, m.root))
				m.start(t)
				earlier := asked(mirror)
				require.Error(t, m.pull(t, nowhere+"/test/app:v1"))
				require.Equal(t, earlier, asked(mirror), "the mirror is out of the way")
			})
		}
	}
}

// list is every file below etc, with its text.
func list(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "etc"), func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		require.NoError(t, err)
		if d.IsDir() || d.Name() == "hosts" {
			return nil
		}
		text, err := os.ReadFile(path)
		out[path] = string(text)
		return err
	}))
	return out
}

func TestCtrPullsThroughTheMirror(t *testing.T) {
	for version, bin := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			m, mirror := newMachine(t, bin), newMirror(t)
			m.install(t, mirror.URL, "--registry", nowhere)
			m.start(t)
			out, err := exec.CommandContext(t.Context(), m.program("ctr"), "--address", m.at("run/containerd.sock"),
				"images", "pull", "--hosts-dir", m.at("etc/containerd/certs.d"), nowhere+"/test/app:v1").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Positive(t, asked(mirror))
		})
	}
}

// TestARegistryKeepsItsCertificate has a registry with a certificate of its own,
// which containerd knows of from a folder without a hosts.toml.
func TestARegistryKeepsItsCertificate(t *testing.T) {
	for version, bin := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			m, mirror := newMachine(t, bin), newMirror(t)
			upstream := registrytest.NewTLS(t)
			_, port, err := net.SplitHostPort(upstream.Host())
			require.NoError(t, err)
			host := "example.com:" + port // the name in the certificate
			m.write(t, "etc/hosts", "127.0.0.1 localhost example.com\n")
			m.write(t, "etc/containerd/certs.d/"+host+"/ca.crt",
				string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})))
			pushTo(t, upstream.Host()+"/test/upstream:v1", upstream.Client().Transport)
			m.install(t, mirror.URL)
			m.start(t)
			require.NoError(t, m.pull(t, host+"/test/app:v1"), "by the mirror")
			require.NoError(t, m.pull(t, host+"/test/upstream:v1"), "by the registry, as the mirror does not have it")
			mirror.Close()
			require.NoError(t, m.pull(t, host+"/test/upstream:v1"), "by the registry, as there is no mirror")
		})
	}
}
