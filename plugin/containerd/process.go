package containerd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultConfig is what containerd reads if it is not told otherwise.
const DefaultConfig = "/etc/containerd/config.toml"

// Process is a containerd's process, as far as it can be seen from here. In
// another PID namespace nothing can: the defaults hold then.
type Process struct {
	PID int // 0 if it cannot be seen
	// Root is the directory that stands for its /, where it has another.
	Root string
	// Config is its configuration file, as it sees it.
	Config  string
	Started time.Time // zero if it cannot be seen
}

// processAt finds the process that listens at a socket.
func processAt(ctx context.Context, address string) (Process, error) {
	p := Process{Root: "/", Config: DefaultConfig}
	conn, err := dial(ctx, address)
	if err != nil {
		return p, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return p, err
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return p, nil
	}
	p.look(int(peer.Pid))
	return p, nil
}

func (p *Process) look(pid int) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	line, err := os.ReadFile(proc + "cmdline")
	args := strings.Split(string(line), "\x00")
	if err != nil || !strings.Contains(filepath.Base(args[0]), "containerd") {
		return // what was handed its socket by another process, or cannot be seen
	}
	p.PID, p.Started = pid, started(proc)
	theirs, err := os.Readlink(proc + "ns/mnt")
	if ours, e := os.Readlink("/proc/self/ns/mnt"); err == nil && e == nil && ours != theirs {
		p.Root = proc + "root"
	}
	if config := configFlag(args[1:]); config != "" {
		if dir, err := os.Readlink(proc + "cwd"); err == nil && !filepath.IsAbs(config) {
			config = filepath.Join(dir, config)
		}
		p.Config = config
	}
}

// configFlag is the configuration file that a command line of containerd names.
func configFlag(args []string) string {
	for i, a := range args {
		name, value, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case !strings.HasPrefix(a, "-") || name != "config" && name != "c":
		case has:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// ticks of /proc/PID/stat per second, which the kernel fixes for all programs.
const ticks = 100

func started(proc string) time.Time {
	self, err := os.ReadFile(proc + "stat")
	if err != nil {
		return time.Time{}
	}
	fields := strings.Fields(string(self[bytes.LastIndexByte(self, ')')+1:])) // from the third field on
	if len(fields) < 20 {
		return time.Time{}
	}
	age, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}
	}
	system, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for _, line := range strings.Split(string(system), "\n") {
		if boot, ok := strings.CutPrefix(line, "btime "); ok {
			if sec, err := strconv.ParseInt(boot, 10, 64); err == nil {
				return time.Unix(sec+age/ticks, 0)
			}
		}
	}
	return time.Time{}
}
