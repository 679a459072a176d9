package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// sample is a pull. What was written is ÷ the image, for each node.
type sample struct {
	took              time.Duration
	containerd, agent time.Duration // CPU time, all nodes together
	processes, disk   float64
}

// samples are those of a case, by way.
type samples map[string][]sample

// print prints the medians.
func (s samples) print(to io.Writer, c testcase) error {
	fmt.Fprintf(to, "\n%s\n", c)
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "way\ttime ÷ plain\ttime\tCPU ÷ plain\tcontainerd\tagent\twritten by both\tby the disk")
	plain := s["plain"]
	for _, way := range ways {
		all := s[way.name]
		took := median(all, func(s sample) time.Duration { return s.took })
		// A plain pull has nothing to do with the agent.
		cpu := median(all, func(s sample) time.Duration { return s.containerd + s.agent })
		fmt.Fprintf(w, "%s\t%.2f\t%.2f s\t%.2f\t%.2f s\t%.2f s\t%.3f × image\t%.3f × image\n", way.name,
			took.Seconds()/median(plain, func(s sample) time.Duration { return s.took }).Seconds(), took.Seconds(),
			cpu.Seconds()/median(plain, func(s sample) time.Duration { return s.containerd + s.agent }).Seconds(),
			median(all, func(s sample) time.Duration { return s.containerd }).Seconds(),
			median(all, func(s sample) time.Duration { return s.agent }).Seconds(),
			median(all, func(s sample) float64 { return s.processes }),
			median(all, func(s sample) float64 { return s.disk }))
	}
	return w.Flush()
}

func median[T cmp.Ordered](all []sample, of func(sample) T) T {
	var list []T
	for _, s := range all {
		list = append(list, of(s))
	}
	slices.Sort(list)
	return list[len(list)/2]
}
