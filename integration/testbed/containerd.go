package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Socket is containerd's.
func (n *Node) Socket() string { return filepath.Join(n.dir, "c.sock") }

// ContentPath is containerd's content store.
func (n *Node) ContentPath() string {
	return filepath.Join(n.dir, "root", "io.containerd.content.v1.content")
}

func (n *Node) program(name string) string {
	if n.c.o.Containerd == "" {
		return name
	}
	return filepath.Join(n.c.o.Containerd, name)
}

// Certs is the folder of its hosts.toml files.
func (n *Node) Certs() string { return filepath.Join(n.dir, "certs.d") }

// writeConfig writes containerd's configuration and the hosts.toml that sends
// its pulls to the mirror.
func (n *Node) writeConfig() (file string, err error) {
	hosts := filepath.Join(n.Certs(), Registry)
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		return "", err
	}
	toml := fmt.Sprintf("server = \"http://%s\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", Registry, mirrorAddr)
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(toml), 0o644); err != nil {
		return "", err
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.internal.v1.opt"]
[grpc]
address = %q
[ttrpc]
address = %q
`, filepath.Join(n.dir, "root"), filepath.Join(n.dir, "state"), n.Socket(), n.Socket()+".ttrpc") + n.c.o.ContainerdConfig
	if n.c.o.Builtin {
		config += n.builtin()
	}
	file = filepath.Join(n.dir, "containerd.toml")
	return file, os.WriteFile(file, []byte(config), 0o644)
}

// builtin is the agent's section in containerd's configuration.
func (n *Node) builtin() string {
	supernodes := "[]"
	if !n.c.o.NoSupernode {
		supernodes = fmt.Sprintf("[%q]", Supernode)
	}
	ingest := ""
	if n.c.o.Ingest != "" {
		ingest = fmt.Sprintf("containerd.ingest = %q", n.c.o.Ingest)
	}
	return fmt.Sprintf(`[plugins."io.shoal.v1.agent"]
supernodes = %s
registries = [{host = %q, plain_http = true}]
mirror.listen = %q
admin.listen = %q
peer.listen = %q
peer.advertise = %q
%s
`, supernodes, Registry, mirrorAddr, adminAddr, n.host.ip+":65002", n.host.ip+":65002", ingest)
}

// StartContainerd starts the node's containerd alone.
func (n *Node) StartContainerd(ctx context.Context) error {
	file, err := n.writeConfig()
	if err != nil {
		return err
	}
	path := os.Getenv("PATH")
	if n.c.o.Containerd != "" {
		path = n.c.o.Containerd + ":" + path // its own shim
	}
	p, err := n.c.start(n.host, n.Name+"-containerd", "env", "PATH="+path, n.program("containerd"), "--config", file)
	if err != nil {
		return err
	}
	n.Containerd = p
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = n.Ctr(ctx, "version"); err == nil {
			return nil
		}
		if p.ended() || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("containerd of %s is not ready: %w\n%s", n.Name, err, tail(p.Log))
}

// Ctr runs ctr against the node's containerd and returns its output.
func (n *Node) Ctr(ctx context.Context, args ...string) (string, error) {
	cmd := n.host.command(ctx, n.program("ctr"), append([]string{"--address", n.Socket()}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		text := strings.TrimSpace(string(out))
		err = fmt.Errorf("ctr %s on %s: %w: %s", strings.Join(args, " "), n.Name, err, text[max(0, len(text)-600):])
	}
	return string(out), err
}

// Pull pulls an image with ctr, through the mirror as hosts.toml says.
func (n *Node) Pull(ctx context.Context, image string, more ...string) error {
	args := append([]string{"images", "pull", "--hosts-dir", n.Certs()}, more...)
	_, err := n.Ctr(ctx, append(args, image)...)
	return err
}

// RunContainer runs a command in a container of the image.
func (n *Node) RunContainer(ctx context.Context, image, id string, args ...string) (string, error) {
	return n.Ctr(ctx, append([]string{"run", "--rm", "--net-host", image, id}, args...)...)
}

// removeContainers ends what an interrupted run left.
func (n *Node) removeContainers(ctx context.Context) {
	if n.Containerd == nil || n.Containerd.ended() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := n.Ctr(ctx, "containers", "ls", "-q")
	if err != nil {
		return
	}
	for _, id := range strings.Fields(out) {
		_, _ = n.Ctr(ctx, "tasks", "rm", "-f", id)
		_, _ = n.Ctr(ctx, "containers", "rm", id)
	}
}
