package p2p

import (
	"fmt"
	"io"
	"os"
)

// reopen returns another descriptor of the file behind r, with an offset of its
// own as sendfile needs it; nil if there is no file. It works after the file
// was renamed. Linux only: elsewhere bytes are copied.
func reopen(r readerAt) *os.File {
	filer, ok := r.(Filer)
	if !ok {
		return nil
	}
	f := filer.File()
	if f == nil {
		return nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var again *os.File
	_ = conn.Control(func(fd uintptr) {
		again, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	})
	if err != nil {
		return nil
	}
	return again
}

// copyAt writes length bytes of r from offset to w, from f by sendfile if it is
// not nil.
func copyAt(w io.Writer, r readerAt, f *os.File, offset, length int64) (int64, error) {
	if f == nil {
		return io.CopyN(w, io.NewSectionReader(r, offset, length), length)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.CopyN(w, f, length)
}
