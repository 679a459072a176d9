package main

import (
	"os"
	"strconv"
	"strings"
)

// procStat is the machine's processor time in ticks.
type procStat struct{ busy, all int64 }

func readProcStat() (p procStat) {
	data, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(data), "\n")
	for i, f := range strings.Fields(line)[1:] {
		v, _ := strconv.ParseInt(f, 10, 64)
		p.all += v
		if i != 3 && i != 4 { // idle, waiting for a disk
			p.busy += v
		}
	}
	return p
}

func busySince(p procStat) float64 {
	now := readProcStat()
	return float64(now.busy-p.busy) / float64(max(1, now.all-p.all))
}
