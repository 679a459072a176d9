package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
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

// floorIntoFile is the floor of a relay that keeps what it passes on.
func (b *bench) floorIntoFile() (time.Duration, error) {
	f, err := os.CreateTemp(b.dir, "floor")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return floor(b.size, f)
}

// floor is the CPU time that no relay can do without that verifies what it
// passes on: it receives n bytes from a loopback socket, hashes them, writes
// them to a file if there is one, and sends them to another socket. One thread
// does that in blocking system calls, and only its time counts, not that of the
// two ends: there is no HTTP in it and no scheduler.
func floor(n int64, file *os.File) (time.Duration, error) {
	source, in, err := tcpPair()
	if err != nil {
		return 0, err
	}
	defer source.Close()
	defer in.Close()
	out, sink, err := tcpPair()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	defer sink.Close()
	deadline := time.Now().Add(time.Minute)
	for _, end := range []net.Conn{source, sink} {
		if err := end.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	go func() {
		data := make([]byte, 256<<10)
		for rest := n; rest > 0; rest -= int64(len(data)) {
			if _, err := source.Write(data[:min(rest, int64(len(data)))]); err != nil {
				break // the relay sees it end early
			}
		}
		source.Close()
	}()
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{sink}, make([]byte, 256<<10))
		sink.Close()
	}()
	from, err := blocking(in)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := blocking(out)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	return relay(int(from.Fd()), int(to.Fd()), n, file)
}

// relay returns the CPU time of its thread.
func relay(from, to int, n int64, file *os.File) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadCPU()
	if err != nil {
		return 0, err
	}
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for rest := n; rest > 0; {
		got, err := syscall.Read(from, buf)
		if err != nil {
			return 0, os.NewSyscallError("read", err)
		}
		if got == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		h.Write(buf[:got])
		if file != nil {
			if _, err := file.Write(buf[:got]); err != nil {
				return 0, err
			}
		}
		for part := buf[:got]; len(part) > 0; {
			sent, err := syscall.Write(to, part)
			if err != nil {
				return 0, os.NewSyscallError("write", err)
			}
			part = part[sent:]
		}
		rest -= int64(got)
	}
	after, err := threadCPU()
	return after - before, err
}

func threadCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), os.NewSyscallError("getrusage", err)
}

// blocking returns a connection as a file whose reads and writes block.
func blocking(c *net.TCPConn) (*os.File, error) {
	f, err := c.File()
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(int(f.Fd()), false); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

func tcpPair() (a, b *net.TCPConn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	// The kernel completes it before it is accepted.
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	accepted, err := l.Accept()
	if err != nil {
		dialed.Close()
		return nil, nil, err
	}
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn), nil
}
