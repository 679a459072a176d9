package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one run beside its baselines.
type row struct {
	scenario scenario
	baseline baseline
	outcome  outcome
}

// last and mean are times of the judged nodes ÷ bound.
func (r row) last() float64 { return r.over(slices.Max(r.judged())) }

func (r row) mean() float64 {
	sum := time.Duration(0)
	for _, t := range r.judged() {
		sum += t
	}
	return r.over(sum / time.Duration(len(r.judged())))
}

func (r row) judged() (out []time.Duration) {
	for k, t := range r.outcome.times {
		if r.scenario.judged(k) {
			out = append(out, t)
		}
	}
	return out
}

func (r row) over(d time.Duration) float64 { return float64(d) / float64(r.baseline.bound) }

// ofBytes is n ÷ S.
func (r row) ofBytes(n int64) float64 { return float64(n) / float64(r.scenario.Bytes) }

func (r row) cpuPerGiB() float64 {
	return r.outcome.cpu.Seconds() / (float64(r.outcome.moved) / (1 << 30))
}

// ofProcessors is the throughput ÷ that of processors which do nothing in vain: on
// each node and the supernode they receive every byte, hash, write and send it
// once. It is 0 where links are the limit.
func (r row) ofProcessors() float64 {
	least := r.baseline.floor * time.Duration(r.scenario.Nodes+1) / time.Duration(runtime.NumCPU())
	return float64(least) / float64(slices.Max(r.judged()))
}

// crowded is when the machine rather than the links may be what is measured.
const crowded = 0.85

func (r row) line() string {
	o := r.outcome
	text := fmt.Sprintf("  last %.3f mean %.3f × bound %.2f s; upstream %.4f supernode %.3f wasted %.4f × S; cpu %.2f s/GiB; agent %d MiB supernode %d MiB; processors %.0f %% busy",
		r.last(), r.mean(), r.baseline.bound.Seconds(), r.ofBytes(o.upstream), r.ofBytes(o.supernode), r.ofBytes(o.wasted),
		r.cpuPerGiB(), o.agent/mib, o.super/mib, 100*o.busy)
	if r.baseline.floor > 0 {
		return text + fmt.Sprintf("; %.2f of the throughput that they allow for", r.ofProcessors())
	}
	if o.busy > crowded {
		text += " (CPU-bound: choose a smaller B or N)"
	}
	return text
}

func summary(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\ncase\tN\tS\tB\tbound\tlast\tgoal\tmean\tgoal\tsimulated\tall direct\tcache\tupstream\tsupernode\twasted\tCPU\tagent\tprocessors\tthroughput\t")
	fmt.Fprintln(t, "\t\tMiB\tMbit/s\ts\t÷ bound\t\t÷ bound\t\tlast\t÷ bound\t÷ bound\t÷ S\t÷ S\t÷ S\ts/GiB\tMiB\tbusy\t÷ CPU limit\t")
	for _, r := range rows {
		s, o := r.scenario, r.outcome
		simulated, err := r.simulated()
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%.2f\t%.3f\t%s\t%.3f\t%s\t%s\t%s\t%s\t%.4f\t%.3f\t%.4f\t%.2f\t%d\t%.0f %%\t%s\t\n",
			s.About, s.Nodes, s.Bytes/mib, orDash(float64(s.Rate/1e6), "%.0f"), r.baseline.bound.Seconds(),
			r.last(), orDash(s.Goal, "≤ %.2f"), r.mean(), orDash(s.Mean, "≤ %.2f"), orDash(simulated, "%.3f"),
			orDash(r.baseline.direct, "%.2f"), orDash(r.baseline.cache, "%.2f"),
			r.ofBytes(o.upstream), r.ofBytes(o.supernode), r.ofBytes(o.wasted), r.cpuPerGiB(), o.agent/mib, 100*o.busy, orDash(r.ofProcessors(), "%.2f"))
	}
	return t.Flush()
}

func orDash(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
