package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// table is the result, a figure a row.
type table struct{ rows []row }

// row is a figure beside its baseline.
type row struct {
	ratio    string // of shoal to baseline, or their difference
	goal     string // of the ratio, unless it has a unit; "" if there is none
	what     string
	through  string // the processes of Shoal
	shoal    string
	baseline string
	against  string // what the baseline is
}

// ratio adds a row of two figures in the same unit.
func (t *table) ratio(r row, shoal, baseline float64, format string) {
	r.ratio = fmt.Sprintf("× %.2f", shoal/baseline)
	r.shoal, r.baseline = fmt.Sprintf(format, shoal), fmt.Sprintf(format, baseline)
	t.rows = append(t.rows, r)
}

// throughput adds a row about n bytes in two times.
func (t *table) throughput(r row, n int64, shoal, baseline time.Duration) {
	rate := func(d time.Duration) float64 { return float64(n) / mib / d.Seconds() }
	t.ratio(r, rate(shoal), rate(baseline), "%.0f MiB/s")
}

// cpu adds a row about the CPU times that n bytes cost.
func (t *table) cpu(r row, n int64, shoal, baseline time.Duration) {
	cost := func(d time.Duration) float64 { return d.Seconds() * gib / float64(n) }
	t.ratio(r, cost(shoal), cost(baseline), "%.2f s/GiB")
}

// latency adds a row about two times whose difference counts.
func (t *table) latency(r row, shoal, baseline time.Duration) {
	in := func(d time.Duration) float64 { return float64(d) / float64(ms) }
	r.ratio = fmt.Sprintf("%+.1f ms", in(shoal-baseline))
	r.shoal, r.baseline = fmt.Sprintf("%.1f ms", in(shoal)), fmt.Sprintf("%.1f ms", in(baseline))
	t.rows = append(t.rows, r)
}

func (t *table) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ratio\tgoal\twhat\tthrough\tShoal\tbaseline\tbaseline is")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ratio, r.goal, r.what, r.through, r.shoal, r.baseline, r.against)
	}
	return w.Flush()
}
