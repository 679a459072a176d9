// Package procstat reads what the kernel counts of processes, for benchmarks.
package procstat

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// RestingCPU is what processes have used, once they rest: a blob is still being
// stored when its client has it all.
func RestingCPU(ctx context.Context, pids []int) (time.Duration, error) {
	last, err := CPU(pids)
	for deadline := time.Now().Add(10 * time.Second); err == nil; {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now time.Duration
		if now, err = CPU(pids); now-last <= tick || time.Now().After(deadline) {
			return now, err
		}
		last = now
	}
	return 0, err
}

// CPU is the processor time that processes have used, user's and system's.
func CPU(pids []int) (sum time.Duration, err error) {
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

// Memory is the resident set of a process, in bytes.
func Memory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status does not tell the memory", pid)
}
