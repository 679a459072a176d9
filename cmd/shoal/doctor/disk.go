package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// space is what a file system has.
type space struct {
	free, all          int64 // bytes
	freeInodes, inodes int64 // 0 inodes: it does not count them
}

// What is little, and what is too little.
const (
	littleBytes  = 5 << 30
	noBytes      = 512 << 20
	littleInodes = 50_000
	noInodes     = 2_000
)

// checkDisk looks at the file system of the agent's store.
func (n *node) checkDisk(ctx context.Context) answer {
	dir, key := n.Config.StoreDir, "store.dir"
	if n.storesInContainerd() {
		dir, key = n.Config.ContainerdContentPath, "containerd.content_path"
	}
	type found struct {
		space
		err error
	}
	c := make(chan found, 1)
	go func() { // a network file system may not answer at all
		s, err := spaceOf(dir)
		c <- found{s, err}
	}()
	select {
	case f := <-c:
		if f.err != nil {
			return asRoot(fail("%s (%s): %s", dir, key, why(f.err)), f.err)
		}
		return judgeSpace(f.space, dir)
	case <-ctx.Done():
		return fail("the file system of %s (%s) does not answer", dir, key).do("see what it is: findmnt -T %s", dir)
	}
}

// spaceOf measures the file system of a directory, or of where it will be.
func spaceOf(dir string) (space, error) {
	for {
		_, err := os.Stat(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, err
	}
	block := int64(st.Bsize) //nolint:unconvert // narrower on some machines
	return space{int64(st.Bavail) * block, int64(st.Blocks) * block, int64(st.Ffree), int64(st.Files)}, nil
}

func judgeSpace(s space, dir string) answer {
	what := fmt.Sprintf("%s of %s are free at %s", size(s.free), size(s.all), dir)
	if s.inodes > 0 {
		what += fmt.Sprintf(", and %d of %d inodes", s.freeInodes, s.inodes)
	}
	a := fine("%s", what)
	switch {
	case s.free < noBytes || s.inodes > 0 && s.freeInodes < noInodes:
		a = fail("%s: nothing can be stored", what)
	case s.free < littleBytes || s.inodes > 0 && s.freeInodes < littleInodes:
		a = warn("%s: that is soon full", what)
	default:
		return a
	}
	return a.do("remove images that nobody uses, such as with crictl rmi --prune, or give the file system more room").
		do("a store of the agent's own is bounded by store.max_bytes in its configuration")
}
