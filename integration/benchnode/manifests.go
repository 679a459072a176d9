package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/shoal-p2p/shoal/internal/freeport"
)

// manifests compares how many requests for one manifest, by digest, Shoal and
// others answer per second.
func (b *bench) manifests(ctx context.Context) error {
	g, err := b.group()
	if err != nil {
		return err
	}
	defer g.stop()
	n, _, err := b.topology(ctx, g, alone)
	if err != nil {
		return err
	}
	registry, err := g.registry(ctx, "")
	if err != nil {
		return err
	}
	if err := b.up.image.push(ctx, registry); err != nil {
		return err
	}
	proxy, err := g.registry(ctx, registry)
	if err != nil {
		return err
	}
	servers := []struct{ name, host string }{
		{"Shoal", n.mirror},
		{"the upstream, net/http from memory", b.up.host},
		{"docker-registry", registry},
		{"docker-registry as a pull-through cache", proxy},
	}
	rates := make([][]float64, len(servers))
	for range b.runs {
		for i, s := range servers {
			rate, err := b.wrk(ctx, "http://"+s.host+b.up.image.path()+"?ns="+b.up.host)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	for i, s := range servers[1:] {
		b.table.ratio(row{what: "warm manifest by digest", through: alone, goal: "≥ 10000/s", against: s.name},
			median(rates[0]), median(rates[1+i]), "%.0f/s")
	}
	return nil
}

var (
	wrkRate   = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)$`)
	wrkFailed = regexp.MustCompile(`(?m)^\s*(Socket errors|Non-2xx).*$`)
)

// wrk returns the requests per second, after one that fills the cache.
func (b *bench) wrk(ctx context.Context, url string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", manifestType)
	if _, err := do(req, http.StatusOK); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.load+20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c32", fmt.Sprintf("-d%.0fs", b.load.Seconds()),
		"-H", "Accept: "+manifestType, url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if failed := wrkFailed.Find(out); failed != nil {
		return 0, fmt.Errorf("wrk: %s", bytes.TrimSpace(failed))
	}
	m := wrkRate.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("wrk tells no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// registry starts a docker-registry, a cache of that at host remote if there is
// one.
func (g *group) registry(ctx context.Context, remote string) (host string, err error) {
	port, err := freeport.Addrs(1)
	if err != nil {
		return "", err
	}
	host = port[0]
	dir, err := os.MkdirTemp(g.dir, "registry")
	if err != nil {
		return "", err
	}
	// As Debian configures it, but without a log.
	text := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: %s}
http: {addr: %q}
`, dir, host)
	if remote != "" {
		text += fmt.Sprintf("proxy: {remoteurl: %q}\n", "http://"+remote)
	}
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return "", err
	}
	if _, err := g.start(ctx, "docker-registry", "serve", config); err != nil {
		return "", err
	}
	return host, g.await(ctx, "http://"+host+"/v2/", func([]byte) bool { return true })
}
