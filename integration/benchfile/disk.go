package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// way is how a file gets onto a node, or through it.
type way struct {
	about string
	store string // of the agent; "" has none to do with it
	// client downloads a URL into a file, or past the disk.
	client func(b bench, url, file string) []string
	past   bool
}

// get is a client that runs shoal get into a file, or into a pipe if past.
func get(past bool, flags ...string) func(bench, string, string) []string {
	return func(b bench, url, file string) []string {
		if past {
			file = "-"
		}
		return append([]string{b.shoal, "get", "-q", "-o", file, url}, flags...)
	}
}

func curl(_ bench, url, file string) []string { return []string{"curl", "-sSf", "-o", file, url} }

var ways = []way{
	{"curl, straight from the source", "", curl, false},
	{"shoal get, store.kind none", "none", get(false), false},
	{"shoal get, store.kind local", "local", get(false), false},
	{"shoal get --keep, store.kind local", "local", get(false, "--keep"), false},
	{"shoal get -o - into a pipe, store.kind none", "none", get(true), true},
	{"shoal get -o - into a pipe, store.kind local", "local", get(true), true},
	{"shoal get -o - --keep into a pipe, store.kind local", "local", get(true, "--keep"), true},
}

// disk counts what each way writes. The agents are those of nodes of their own; the
// supernode, which stores what it seeds, is left out.
func (b bench) disk(ctx context.Context) error {
	fmt.Printf("bytes that a download of %d MiB writes to its node's disk, and reads from it, ÷ the file\n", b.size/mib)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "way\twritten by the agent\twritten by the client\twritten\tread")
	for _, v := range ways {
		if err := b.count(ctx, w, v); err != nil {
			return fmt.Errorf("%s: %w", v.about, err)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println("Dragonfly's first generation passed a file over the disk four times on each node, as its makers described it:\n" +
		"written as it came, read to be shared, read to be checked, and read to be delivered.")
	return nil
}

func (b bench) count(ctx context.Context, w *tabwriter.Writer, v way) (err error) {
	store := v.store
	if store == "" {
		store = "none"
	}
	c, err := testbed.New(ctx, testbed.Options{Shoal: b.shoal, Nodes: 1, Store: store})
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return err
	}
	src, err := newSource(c, b.size)
	if err != nil {
		return err
	}
	n, file := c.Nodes[0], filepath.Join(c.Dir(), "out")
	before, err := ioOf(n.Agent.Pid())
	if err != nil {
		return err
	}
	args := v.client(b, urlOf("file"), file)
	cmd := n.Command(ctx, args[0], args[1:]...)
	if v.past {
		sink := exec.CommandContext(ctx, "cat")
		if sink.Stdin, err = cmd.StdoutPipe(); err != nil {
			return err
		}
		if err := sink.Start(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sink.Wait()) }()
	}
	d, err := runClient(cmd)
	if err != nil {
		return err
	}
	unix.Sync() // a commit may be under way
	after, err := ioOf(n.Agent.Pid())
	if err != nil {
		return err
	}
	if !v.past {
		if err := src.check(file); err != nil {
			return err
		}
	}
	agent, client, size := float64(after.written-before.written), float64(d.written), float64(b.size)
	fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%.3f\n", v.about, agent/size, client/size, (agent+client)/size, float64(after.read-before.read)/size)
	return nil
}

// usedIO is what a process has had the disk do.
type usedIO struct{ read, written int64 }

func ioOf(pid int) (u usedIO, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(data)) {
		_, _ = fmt.Sscanf(line, "read_bytes: %d", &u.read)
		_, _ = fmt.Sscanf(line, "write_bytes: %d", &u.written)
	}
	return u, nil
}
