package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end on SIGTERM.
const stopTimeout = 20 * time.Second

// Process is a program that a cluster runs.
type Process struct {
	Name string
	Log  string // file of its output
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start runs a program on a host until it is stopped.
func (c *Cluster) start(h host, name string, args ...string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(c.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if c.hosts != "" {
		script := `mount --bind "$0" /etc/hosts && exec "$@"`
		args = append([]string{"unshare", "--mount", "--", "sh", "-c", script, c.hosts}, args...)
	}
	p.cmd = h.command(context.Background(), args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the cluster to act on.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	c.processes = append(c.processes, p)
	return p, nil
}

// Pid is the process's ID. nsenter becomes the program that it runs.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// Freeze stops the process without ending it, Thaw lets it go on.
func (p *Process) Freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// Terminate asks the process to end, and waits.
func (p *Process) Terminate() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, stopTimeout)
	}
}

// ExitCode is how a process that has ended did; -1 is by a signal.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// ended reports whether the process is gone.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// CPU is the processor time that the process has used so far.
func (p *Process) CPU() time.Duration {
	if p.ended() {
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may hold anything
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// Descriptors is how many file descriptors the process has open.
func (p *Process) Descriptors() (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	return len(open), err
}

// PeakMemory is the largest resident set so far, in bytes.
func (p *Process) PeakMemory() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, err
	}
	var kib int64
	if _, err := fmt.Sscanf(line(string(data), "VmHWM:"), "VmHWM: %d kB", &kib); err != nil {
		return 0, fmt.Errorf("peak memory of %s: %w", p.Name, err)
	}
	return kib << 10, nil
}
