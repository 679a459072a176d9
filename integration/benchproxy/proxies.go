package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shoal-p2p/shoal/internal/freeport"
)

// startProxies starts those that are compared. stop must be called, also after an
// error.
func (b *bench) startProxies(ctx context.Context) (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	start := func(name, addr, program string, args ...string) error {
		log, err := os.Create(filepath.Join(b.dir, name+".log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return err
		}
		all = append(all, cmd)
		b.ways = append(b.ways, way{name: name, proxy: addr, pid: cmd.Process.Pid})
		return await(ctx, addr, log.Name())
	}
	addr, err := freeport.Addrs(4)
	if err != nil {
		return stop, err
	}
	if out, err := exec.CommandContext(ctx, b.binary, "gen-ca", "--out", b.dir).CombinedOutput(); err != nil {
		return stop, fmt.Errorf("gen-ca: %w\n%s", err, out)
	}
	config := filepath.Join(b.dir, "shoal.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
mirror.listen: %s
admin.listen: %s
peer.listen: %s
data_dir: %s
log.level: error
proxy:
  rules:
    - regex: \.example/
  hijack_https:
    cert: %s
    key: %s
    hosts:
      - regex: \.example:443$
`, addr[0], addr[1], addr[2], filepath.Join(b.dir, "data"), filepath.Join(b.dir, "ca.crt"), filepath.Join(b.dir, "ca.key")), 0o600); err != nil {
		return stop, err
	}
	host, port, err := net.SplitHostPort(addr[3])
	if err != nil {
		return stop, err
	}
	tiny := filepath.Join(b.dir, "tinyproxy.conf")
	// What it comes with, but for where it listens.
	if err := os.WriteFile(tiny, fmt.Appendf(nil, "Port %s\nListen %s\nTimeout 600\nMaxClients 100\nLogLevel Error\nViaProxyName \"tinyproxy\"\n", port, host), 0o600); err != nil {
		return stop, err
	}
	if err := start("shoal", addr[0], b.binary, "agent", "--config", config); err != nil {
		return stop, err
	}
	if err := start("tinyproxy", addr[3], "tinyproxy", "-d", "-c", tiny); err != nil {
		return stop, err
	}
	b.ways = append(b.ways, way{name: "no proxy"})
	return stop, nil
}

// await waits until somebody listens.
func await(ctx context.Context, addr, log string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
	}
	text, _ := os.ReadFile(log)
	return fmt.Errorf("nobody listens at %s:\n%s", addr, text)
}
