package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// used is what daemons have used so far, all nodes together.
type used struct {
	containerd, agent time.Duration // CPU time
	processes         int64         // bytes that both have handed to the disk
	disk              int64         // bytes that the disk has written, for whomever
}

func use(cluster *testbed.Cluster) (u used, err error) {
	unix.Sync()
	for _, n := range cluster.Nodes {
		daemons := []*testbed.Process{n.Containerd}
		u.containerd += n.Containerd.CPU()
		if n.Agent != n.Containerd {
			daemons = append(daemons, n.Agent)
			u.agent += n.Agent.CPU()
		}
		for _, p := range daemons {
			written, err := writtenBy(p.Pid())
			if err != nil {
				return u, err
			}
			u.processes += written
		}
	}
	u.disk, err = writtenTo(cluster.Dir())
	return u, err
}

// writtenBy is how many bytes of the page cache a process has made dirty.
func writtenBy(pid int) (n int64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(data), "\nwrite_bytes: ")
	if !ok {
		return 0, fmt.Errorf("/proc/%d/io holds %q", pid, data)
	}
	_, err = fmt.Sscan(after, &n)
	return n, err
}

// writtenTo is how many bytes the disk below a directory has written.
func writtenTo(dir string) (int64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return 0, err
	}
	f, err := os.Open("/proc/diskstats")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// Major, minor and name, then per statistic; the 7th is sectors written.
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[0] != fmt.Sprint(unix.Major(st.Dev)) || f[1] != fmt.Sprint(unix.Minor(st.Dev)) {
			continue
		}
		var sectors int64
		_, err := fmt.Sscan(f[9], &sectors)
		return sectors * 512, err
	}
	return 0, errors.New("/proc/diskstats does not know the disk of " + dir)
}
