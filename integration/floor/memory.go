package floor

import (
	"os"

	"golang.org/x/sys/unix"
)

// Touch uses n bytes of memory and frees them. A virtual machine may get memory
// from its host only when it is used, at a cost above that of all else here, and
// give it back seconds after it is freed: what is measured right after does not
// pay for that.
func Touch(n int64) error {
	p, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	return os.NewSyscallError("munmap", unix.Munmap(p))
}
