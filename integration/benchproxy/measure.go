package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shoal-p2p/shoal/integration/procstat"
)

// ask gets n bytes from the origin in a connection of its own: through a tunnel,
// or by an absolute URI.
func (b *bench) ask(w way, tunnel bool, n int64) (time.Duration, error) {
	start := time.Now()
	c, r, err := w.connect(b.origin, tunnel)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	target := fmt.Sprint("/", n)
	if w.proxy != "" && !tunnel {
		target = "http://" + b.origin + target
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, b.origin); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	got, err := io.Copy(io.Discard, resp.Body)
	if err != nil || got != n || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s, %d bytes, %w", w.name, resp.Status, got, err)
	}
	return time.Since(start), nil
}

// connect connects to a host, or to the proxy if there is no tunnel.
func (w way) connect(host string, tunnel bool) (net.Conn, *bufio.Reader, error) {
	at := host
	if w.proxy != "" {
		at = w.proxy
	}
	c, err := net.Dial("tcp", at)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	r := bufio.NewReaderSize(c, 256<<10)
	if w.proxy == "" || !tunnel {
		return c, r, nil
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host); err != nil {
		c.Close()
		return nil, nil, err
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		c.Close()
		return nil, nil, fmt.Errorf("%s does not connect: %w", w.name, err)
	}
	return c, r, nil
}

var kinds = map[bool]string{true: "tunnel", false: "relay"}

// throughput measures large transfers, and the processor time of the proxy.
func (b *bench) throughput(ctx context.Context) error {
	for _, tunnel := range []bool{true, false} {
		took, cpu := make([][]float64, len(b.ways)), make([][]float64, len(b.ways))
		for range b.runs {
			for i, w := range b.ways {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				before, err := w.cpu()
				if err != nil {
					return err
				}
				t, err := b.ask(w, tunnel, b.size)
				if err != nil {
					return err
				}
				after, err := w.cpu()
				if err != nil {
					return err
				}
				took[i] = append(took[i], t.Seconds())
				cpu[i] = append(cpu[i], (after - before).Seconds())
			}
		}
		b.report(fmt.Sprintf("%s, %d MiB", kinds[tunnel], b.size>>20), "s", took)
		b.report(kinds[tunnel]+", processor time of the proxy", "s", cpu[:2])
	}
	return nil
}

func (w way) cpu() (time.Duration, error) {
	if w.pid == 0 {
		return 0, nil
	}
	return procstat.CPU([]int{w.pid})
}

// latency measures small requests, each in a connection of its own.
func (b *bench) latency(ctx context.Context) error {
	for _, tunnel := range []bool{true, false} {
		p50, p99 := make([][]float64, len(b.ways)), make([][]float64, len(b.ways))
		for range b.runs {
			for i, w := range b.ways {
				var all []time.Duration
				for range b.requests {
					t, err := b.ask(w, tunnel, 100)
					if err != nil || ctx.Err() != nil {
						return fmt.Errorf("%w %w", err, ctx.Err())
					}
					all = append(all, t)
				}
				p50[i], p99[i] = append(p50[i], percentile(all, 50)), append(p99[i], percentile(all, 99))
			}
		}
		b.report(kinds[tunnel]+", small request", "ms", p50)
		b.report(kinds[tunnel]+", small request, p99", "ms", p99)
	}
	return nil
}

// opening measures handshakes with hosts that the proxy has never seen, and its
// memory.
func (b *bench) opening(ctx context.Context) error {
	w := b.ways[0]
	text, err := os.ReadFile(filepath.Join(b.dir, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	host := 0
	for run := range b.runs {
		var all []time.Duration
		for range b.hosts {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			host++
			name := fmt.Sprintf("host%d.example", host)
			c, _, err := w.connect(name+":443", true)
			if err != nil {
				return err
			}
			start := time.Now()
			t := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: name})
			err = t.HandshakeContext(ctx)
			all = append(all, time.Since(start))
			t.Close()
			if err != nil {
				return err
			}
		}
		memory, err := procstat.Memory(w.pid)
		if err != nil {
			return err
		}
		fmt.Printf("opened for %d new hosts, run %d: handshake p50 %.2f ms, p99 %.2f ms, resident %d MiB\n",
			b.hosts, run+1, percentile(all, 50), percentile(all, 99), memory>>20)
	}
	return nil
}

// percentile is in milliseconds.
func percentile(all []time.Duration, p int) float64 {
	slices.Sort(all)
	return float64(all[(len(all)-1)*p/100].Microseconds()) / 1000
}

// report prints medians of runs, by the way, and Shoal's share of tinyproxy's.
func (b *bench) report(what, unit string, runs [][]float64) {
	fmt.Printf("%-36s", what)
	var medians []float64
	for i, r := range runs {
		slices.Sort(r)
		medians = append(medians, r[len(r)/2])
		fmt.Printf("  %s %.3f %s", b.ways[i].name, medians[i], unit)
	}
	fmt.Printf("  shoal ÷ tinyproxy × %.2f\n", medians[0]/medians[1])
}
