package testbed

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Docker is a dockerd on a node, with nothing of the machine's own one.
type Docker struct {
	*Process

	n   *Node
	dir string
}

// docker is the client: Debian's, which every dockerd understands.
const docker = "/usr/bin/docker"

// NewDocker is a dockerd that is not started yet.
func (n *Node) NewDocker() (*Docker, error) {
	d := &Docker{n: n, dir: filepath.Join(n.dir, "docker")}
	return d, os.MkdirAll(filepath.Dir(d.Config()), 0o755)
}

// Reload makes it read its daemon.json again.
func (d *Docker) Reload() error { return d.cmd.Process.Signal(syscall.SIGHUP) }

// Root stands for / where its configuration is concerned, so that it can be
// given to shoal install docker.
func (d *Docker) Root() string { return filepath.Join(d.dir, "root") }

// Config is its daemon.json.
func (d *Docker) Config() string { return filepath.Join(d.Root(), "etc", "docker", "daemon.json") }

// Socket is where it listens.
func (d *Docker) Socket() string { return filepath.Join(d.dir, "docker.sock") }

// Start starts it, again if it runs, with its own /etc/docker and the environment
// of its systemd drop-ins. program is the path of dockerd, which finds its
// containerd beside it first.
func (d *Docker) Start(ctx context.Context, program string) error {
	if d.Process != nil && !d.ended() {
		if err := d.Terminate(); err != nil {
			return err
		}
	}
	dropIns, err := filepath.Glob(filepath.Join(d.Root(), "etc/systemd/system/docker.service.d/*.conf"))
	if err != nil {
		return err
	}
	var env []string
	for _, file := range dropIns {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
				env = append(env, strings.Trim(v, `"`))
			}
		}
	}
	if err := os.MkdirAll("/etc/docker", 0o755); err != nil { // what is mounted on
		return err
	}
	script := `mount --bind "$0" /etc/docker && exec "$@"`
	args := []string{"unshare", "--mount", "--", "sh", "-c", script, filepath.Dir(d.Config())}
	args = append(args, "env", "PATH="+filepath.Dir(program)+":/usr/sbin:/usr/bin:/sbin:/bin")
	args = append(args, env...)
	args = append(args, program, "--host", "unix://"+d.Socket(),
		"--data-root", filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.dir, "exec"), "--pidfile", filepath.Join(d.dir, "pid"),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	if d.Process, err = d.n.c.start(d.n.host, d.n.Name+"-dockerd", args...); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = d.Run(ctx, "version"); err == nil {
			return nil
		}
		if d.ended() || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("dockerd of %s is not ready: %w\n%s", d.n.Name, err, tail(d.Log))
}

// Run runs the client and returns what it says.
func (d *Docker) Run(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"--config", filepath.Join(d.dir, "client"), "--host", "unix://" + d.Socket()}, args...)
	out, err := d.n.host.command(ctx, docker, all...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("docker %s on %s: %w: %s", strings.Join(args, " "), d.n.Name, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// LogIn gives the client credentials for a registry, as docker login writes them.
func (d *Docker) LogIn(registry, user, password string) error {
	dir := filepath.Join(d.dir, "client")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	text := fmt.Sprintf("{\"auths\": {%q: {\"auth\": %q}}}\n", registry, basic)
	return os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600)
}
