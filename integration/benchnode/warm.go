package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/procstat"
	"github.com/shoal-p2p/shoal/internal/freeport"
)

// warm compares a blob out of the store with the same one from nginx.
func (b *bench) warm(ctx context.Context) error {
	dgst, err := b.up.blob(b.size)
	if err != nil {
		return err
	}
	g, err := b.group()
	if err != nil {
		return err
	}
	defer g.stop()
	n, pids, err := b.topology(ctx, g, alone)
	if err != nil {
		return err
	}
	nginx, host, err := b.nginx(ctx, g)
	if err != nil {
		return err
	}
	servers := []struct {
		host string
		pids []int
	}{{host, []int{nginx}}, {n.mirror, pids}}
	for _, s := range servers { // Shoal stores it now
		if _, err := b.download(ctx, s.host, dgst, whole); err != nil {
			return err
		}
	}
	var took, cpu [2][]time.Duration
	var floors []time.Duration
	for range b.runs {
		for i, s := range servers {
			before, err := procstat.RestingCPU(ctx, s.pids)
			if err != nil {
				return err
			}
			t, err := b.download(ctx, s.host, dgst, whole)
			if err != nil {
				return err
			}
			after, err := procstat.RestingCPU(ctx, s.pids)
			if err != nil {
				return err
			}
			took[i], cpu[i] = append(took[i], t), append(cpu[i], after-before)
		}
		f, err := floor.CPU(b.size, nil)
		if err != nil {
			return err
		}
		floors = append(floors, f)
	}
	if read, err := n.counter(ctx, `shoal_blob_bytes_total{source="store"}`); err != nil {
		return err
	} else if want := b.size * int64(b.runs); read != want {
		return fmt.Errorf("the agent has sent %d bytes out of its store, not %d", read, want)
	}
	r := row{what: fmt.Sprintf("warm %d MiB blob", b.size/mib), through: alone, against: "nginx, sendfile on", goal: "≥ 0.9"}
	b.table.throughput(r, b.size, median(took[1]), median(took[0]))
	r.what, r.goal = "CPU of a warm blob", ""
	b.table.cpu(r, b.size, mean(cpu[1]), mean(cpu[0]))
	r.against = "floor: receive, SHA-256, send"
	b.table.cpu(r, b.size, mean(cpu[1]), mean(floors))
	return nil
}

// nginx serves the files of the upstream. It is one process, as the agent is.
func (b *bench) nginx(ctx context.Context, g *group) (pid int, host string, err error) {
	port, err := freeport.Addrs(1)
	if err != nil {
		return 0, "", err
	}
	host = port[0]
	config := filepath.Join(g.dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	sendfile on;
	client_body_temp_path temp;
	proxy_temp_path temp;
	fastcgi_temp_path temp;
	uwsgi_temp_path temp;
	scgi_temp_path temp;
	server {
		listen %s;
		location = / { return 200; }
		location /v2/bench/blobs/ { alias %s/; }
	}
}
`, host, b.up.dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return 0, "", err
	}
	if pid, err = g.start(ctx, "nginx", "-p", g.dir, "-e", "stderr", "-c", config); err != nil {
		return 0, "", err
	}
	return pid, host, g.await(ctx, "http://"+host+"/", func([]byte) bool { return true })
}
