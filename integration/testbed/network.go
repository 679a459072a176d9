package testbed

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// host is a network namespace on the cluster's bridge.
type host struct {
	netns string // name of the namespace
	ip    string
}

func (h host) path() string { return "/var/run/netns/" + h.netns }

// command runs a program on the host. nsenter changes the network alone;
// ip netns exec would hide the cgroups as well.
func (h host) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + h.path(), name}, args...)...)
}

// dial opens a connection from inside the host.
func (h host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return inside(h, func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, network, addr) })
}

// listen binds an address inside the host.
func (h host) listen(addr string) (net.Listener, error) {
	return inside(h, func() (net.Listener, error) { return net.Listen("tcp", addr) })
}

// inside calls f with the host's network. What it opens stays there.
func inside[T any](h host, f func() (T, error)) (got T, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread changes its namespace; it ends with the goroutine.
		runtime.LockOSThread()
		ns, e := os.Open(h.path())
		if e != nil {
			err = e
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			got, err = f()
		}
	}()
	<-done
	return got, err
}

func ip(ctx context.Context, args ...string) error { return tool(ctx, "ip", args...) }

func tool(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

const bridge = "br0"

// addBridge makes the namespace that holds the bridge.
func (c *Cluster) addBridge(ctx context.Context) error {
	ns := c.id + "-br"
	if err := ip(ctx, "netns", "add", ns); err != nil {
		return err
	}
	c.namespaces = append(c.namespaces, ns)
	if err := ip(ctx, "-n", ns, "link", "add", bridge, "type", "bridge"); err != nil {
		return err
	}
	// Where the kernel shows bridged packets to its firewall, this bridge's
	// cost time for nothing.
	off := "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done"
	if err := tool(ctx, "nsenter", "--net=/var/run/netns/"+ns, "sh", "-c", off); err != nil {
		return err
	}
	return ip(ctx, "-n", ns, "link", "set", bridge, "up")
}

// addHost makes a namespace with one link to the bridge. rate shapes the link
// both ways, in bits per second; 0 leaves it as it is.
func (c *Cluster) addHost(ctx context.Context, name, addr string, rate int64) (host, error) {
	h := host{netns: c.id + "-" + name, ip: addr}
	if err := ip(ctx, "netns", "add", h.netns); err != nil {
		return h, err
	}
	c.namespaces = append(c.namespaces, h.netns)
	port := "p-" + name
	for _, args := range [][]string{
		{"-n", c.id + "-br", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h.netns},
		{"-n", c.id + "-br", "link", "set", port, "master", bridge, "up"},
		{"-n", h.netns, "addr", "add", addr + "/24", "dev", "eth0"},
		{"-n", h.netns, "link", "set", "lo", "up"},
		{"-n", h.netns, "link", "set", "eth0", "up"},
	} {
		if err := ip(ctx, args...); err != nil {
			return h, err
		}
	}
	if rate == 0 {
		return h, nil
	}
	shape := []string{"root", "tbf", "rate", fmt.Sprintf("%dbit", rate), "burst", "64kb", "latency", "50ms"}
	if err := tool(ctx, "tc", append([]string{"-n", h.netns, "qdisc", "add", "dev", "eth0"}, shape...)...); err != nil {
		return h, err
	}
	return h, tool(ctx, "tc", append([]string{"-n", c.id + "-br", "qdisc", "add", "dev", port}, shape...)...)
}
