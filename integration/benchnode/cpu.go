package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc, the same on every Linux.
const tick = 10 * ms

// restingCPU is what processes have used, once they rest: a blob is still being
// stored when its client has it all.
func restingCPU(ctx context.Context, pids []int) (time.Duration, error) {
	last, err := cpuOf(pids)
	for deadline := time.Now().Add(10 * time.Second); err == nil; {
		select {
		case <-time.After(100 * ms):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now time.Duration
		if now, err = cpuOf(pids); now-last <= tick || time.Now().After(deadline) {
			return now, err
		}
		last = now
	}
	return 0, err
}

func cpuOf(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name, in parentheses, may hold spaces; utime and stime are
		// fields 14 and 15 of all.
		after := stat[strings.LastIndexByte(string(stat), ')')+1:]
		fields := strings.Fields(string(after))
		if len(fields) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat holds %q", pid, stat)
		}
		for _, f := range fields[11:13] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}
