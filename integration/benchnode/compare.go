package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-p2p/shoal/integration/floor"
	"github.com/shoal-p2p/shoal/integration/procstat"
)

// cold compares downloads of blobs that Shoal does not have with direct ones.
func (b *bench) cold(ctx context.Context) error {
	for _, through := range []string{storesNothing, alone, up, andSupernode} {
		for _, measure := range []func(context.Context, string) error{b.coldLatency, b.coldThroughput} {
			if err := measure(ctx, through); err != nil {
				return fmt.Errorf("%s: %w", through, err)
			}
		}
	}
	return nil
}

func (b *bench) coldLatency(ctx context.Context, through string) error {
	for _, m := range []struct {
		what string
		size int64
		w    what
	}{
		{"first byte of a cold 100 MiB blob", 100 * mib, firstByte},
		{"cold 1 MiB blob", mib, whole},
	} {
		var direct, shoal []time.Duration
		for range b.runs {
			s, err := b.coldRun(ctx, through, m.size, m.w)
			if err != nil {
				return err
			}
			direct, shoal = append(direct, s.direct), append(shoal, s.shoal)
		}
		b.table.latency(row{what: m.what, through: through, against: "direct"}, median(shoal), median(direct))
	}
	return nil
}

func (b *bench) coldThroughput(ctx context.Context, through string) error {
	var direct, intoFile, shoal, cpu, floors, fileFloors []time.Duration
	for range b.runs {
		s, err := b.coldRun(ctx, through, b.size, verified)
		if err != nil {
			return err
		}
		f, err := floor.CPU(b.size, nil)
		if err != nil {
			return err
		}
		ff, err := floor.IntoFile(b.size, b.dir)
		if err != nil {
			return err
		}
		direct, intoFile, shoal = append(direct, s.direct), append(intoFile, s.intoFile), append(shoal, s.shoal)
		cpu, floors, fileFloors = append(cpu, s.cpu), append(floors, f), append(fileFloors, ff)
	}
	throughput := row{what: fmt.Sprintf("cold %d MiB blob", b.size/mib), through: through, against: "direct, verified by the client"}
	used := row{what: "CPU of a cold blob", through: through, against: "floor: receive, SHA-256, send"}
	switch through {
	case storesNothing:
		used.goal = "≤ 1.5"
	case alone:
		throughput.goal, used.goal = "≥ 0.85", "≤ 1.5"
	}
	b.table.throughput(throughput, b.size, median(shoal), median(direct))
	if through != storesNothing {
		throughput.goal, throughput.against = "", "direct, verified, into a file"
		b.table.throughput(throughput, b.size, median(shoal), median(intoFile))
	}
	b.table.cpu(used, b.size, mean(cpu), mean(floors))
	if through != storesNothing {
		used.goal, used.against = "", "floor: receive, SHA-256, write to a file, send"
		b.table.cpu(used, b.size, mean(cpu), mean(fileFloors))
	}
	return nil
}

// sample is one measurement. cpu is that of Shoal.
type sample struct{ direct, intoFile, shoal, cpu time.Duration }

// coldRun starts Shoal afresh, warms it up with another blob, and takes the
// times.
func (b *bench) coldRun(ctx context.Context, through string, size int64, w what) (s sample, err error) {
	dgst, err := b.up.blob(size)
	if err != nil {
		return s, err
	}
	other, err := b.up.blob(4096)
	if err != nil {
		return s, err
	}
	g, err := b.group()
	if err != nil {
		return s, err
	}
	defer g.stop()
	n, pids, err := b.topology(ctx, g, through)
	if err != nil {
		return s, err
	}
	for _, host := range []string{n.mirror, b.up.host} {
		if _, err := b.download(ctx, host, other, whole); err != nil {
			return s, err
		}
	}
	if s.direct, err = b.download(ctx, b.up.host, dgst, w); err != nil {
		return s, err
	}
	fromMirror := w
	if w == verified {
		if err := floor.Touch(); err != nil { // for all that follows
			return s, err
		}
		if s.intoFile, err = b.download(ctx, b.up.host, dgst, stored); err != nil {
			return s, err
		}
		fromMirror = whole // the mirror has verified what it sends
	}
	before, err := procstat.RestingCPU(ctx, pids)
	if err != nil {
		return s, err
	}
	if s.shoal, err = b.download(ctx, n.mirror, dgst, fromMirror); err != nil {
		return s, err
	}
	after, err := procstat.RestingCPU(ctx, pids)
	s.cpu = after - before
	return s, err
}

func median[T cmp.Ordered](d []T) T {
	slices.Sort(d)
	return d[len(d)/2]
}

func mean(d []time.Duration) time.Duration {
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return sum / time.Duration(len(d))
}
