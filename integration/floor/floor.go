// Package floor measures the least that moving bytes costs on this machine, for
// benchmarks to stand beside.
package floor

import (
	"crypto/sha256"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// IntoFile is the floor of a relay that keeps what it passes on, in a new file
// in dir.
func IntoFile(n int64, dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "floor")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return CPU(n, f)
}

// CPU is the processor time that no relay can do without that verifies what it
// passes on: it receives n bytes from a loopback socket, hashes them, writes
// them to a file if there is one, and sends them to another socket. One thread
// does that in blocking system calls, and only its time counts, not that of the
// two ends: there is no HTTP in it and no scheduler.
func CPU(n int64, file *os.File) (time.Duration, error) {
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
