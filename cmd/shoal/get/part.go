package get

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// part is an output that is there under its name only when it is whole. Until
// then its bytes are in a file beside it, which is locked.
type part struct {
	place
	fixed  bool            // the name stands
	done   map[string]bool // outputs of other URLs
	path   string          // of the file
	file   *os.File
	notes  notes
	length int64 // bytes in the file that are of the content
}

// notes are kept beside a part. They say what its bytes are of, and are written
// before these.
type notes struct {
	Format int    `json:"format"`
	Task   string `json:"task"` // hash of URL and range
	content
	// Synced bytes are on the disk. The others are there only as long as the
	// machine runs on, with this Boot id.
	Synced int64  `json:"synced"`
	Boot   string `json:"boot"`
}

const (
	notesFormat = 1
	maxNotes    = 64 << 10
)

// openPart opens the part beside a file. Its length is what can be continued of
// the task.
func openPart(at place, task string) (*part, error) {
	path := filepath.Join(at.dir, partName(at.base))
	f, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	p := &part{place: at, path: path, file: f, notes: notes{Format: notesFormat, Task: task}}
	p.length = p.left()
	if err := p.cut(); err != nil {
		p.keep()
		return nil, local(err)
	}
	return p, nil
}

// partName is the name of the part for a file, which is not longer than file
// systems allow.
func partName(base string) string {
	if len(base) > maxName {
		sum := sha256.Sum256([]byte(base))
		base = cut(base, maxName-17) + "-" + hex.EncodeToString(sum[:8])
	}
	return "." + base + ".shoal-part"
}

// openLocked opens a file of ours and locks it, so that two downloads to the same
// output do not mix.
func openLocked(path string) (*os.File, error) {
	for {
		f, err := openOurs(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, failed(Local, "%s is being written by another shoal get", path)
		}
		// Where there are no locks, as on some network file systems, it goes without.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, local(err)
		}
		if now, err := os.Lstat(path); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close() // the other has just finished, and the file has become its output
	}
}

// openOurs opens a regular file that nobody else put there.
func openOurs(path string, flags int, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if err != nil {
		return nil, local(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, local(err)
	}
	if !info.Mode().IsRegular() || planted(filepath.Dir(path), info) {
		f.Close()
		return nil, failed(Local, "%s is in the way: it is no regular file of this user; remove it", path)
	}
	return f, nil
}

// planted says whether someone else may have put a file into a folder where
// everybody can, to own the output then. Elsewhere the owner tells nothing: network
// file systems change it.
func planted(dir string, file fs.FileInfo) bool {
	d, err := os.Stat(dir)
	sys, ok := file.Sys().(*syscall.Stat_t)
	return err == nil && ok && d.Mode()&fs.ModeSticky != 0 && d.Mode().Perm()&0o002 != 0 && int(sys.Uid) != os.Geteuid()
}

// left is how much of the file can be continued.
func (p *part) left() int64 {
	info, err := p.file.Stat()
	if err != nil || info.Size() == 0 {
		return 0
	}
	f, err := openOurs(p.notesPath(), os.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	var found notes
	if err := json.NewDecoder(io.LimitReader(f, maxNotes)).Decode(&found); err != nil {
		return 0
	}
	if found.Format != notesFormat || found.Task != p.notes.Task || found.Validator == "" || found.Base < 0 {
		return 0
	}
	length := info.Size()
	if found.Boot == "" || found.Boot != boot() {
		length = min(length, found.Synced)
	}
	if found.Size >= 0 { // the source shall vouch for a whole file too
		length = min(length, found.Size-1)
	}
	if length <= 0 {
		return 0
	}
	p.notes = found
	return length
}

// boot identifies the time since the machine was started; "" if nobody knows.
func boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func (p *part) notesPath() string { return p.path + ".json" }

// cut drops what the file has behind the content.
func (p *part) cut() error {
	if err := p.file.Truncate(p.length); err != nil {
		return err
	}
	_, err := p.file.Seek(p.length, io.SeekStart)
	return err
}

// reread hands over what the file has.
func (p *part) reread(ctx context.Context, to io.Writer) error {
	buf := make([]byte, buffer)
	for at := int64(0); at < p.length; {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		n, err := p.file.ReadAt(buf[:min(buffer, p.length-at)], at)
		if n == 0 {
			return local(err)
		}
		_, _ = to.Write(buf[:n])
		at += int64(n)
	}
	return nil
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.length += int64(n)
	return n, err
}

func (p *part) name() string { return printable(p.base) }

// target is the path of the output.
func (p *part) target() string { return filepath.Join(p.dir, p.base) }

// named takes the name that the source gives, where the user chose none. It
// replaces no file: a source must not choose which.
func (p *part) named(name string) error {
	if p.fixed || name == p.base {
		return nil
	}
	p.base, p.fixed = name, true
	if _, err := os.Lstat(p.target()); err == nil {
		return failed(Local, "the source calls the file %s, which is there already; choose with -o", p.name())
	}
	return nil
}

// expect writes the notes, and takes the room that the content needs, so that a
// full disk is found out now.
func (p *part) expect(c content) error {
	if p.done[p.target()] {
		return failed(Local, "another URL gave %s already; give it a name with -o", p.name())
	}
	if p.notes.content != c || p.length == 0 {
		p.notes.content, p.notes.Synced = c, 0
	}
	p.notes.Boot = boot()
	if err := p.note(); err != nil {
		return err
	}
	if c.Size <= p.length {
		return nil
	}
	err := unix.Fallocate(int(p.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, p.length, c.Size-p.length)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return local(&fs.PathError{Op: "reserve the file's size in", Path: p.path, Err: err})
	}
	return nil
}

func (p *part) note() error {
	data, err := json.Marshal(p.notes)
	if err != nil {
		return err
	}
	f, err := openOurs(p.notesPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return local(err)
	}
	if err := f.Close(); err != nil {
		return local(err)
	}
	return nil
}

func (p *part) restart() error {
	p.length = 0
	if err := p.cut(); err != nil {
		return local(err)
	}
	return nil
}

// finish renames the file, whose bytes are on the disk then: a name never stands
// for less than the whole, even if the machine fails now.
func (p *part) finish() error {
	defer p.file.Close()
	if err := p.file.Sync(); err != nil {
		return local(err)
	}
	if err := os.Rename(p.path, p.target()); err != nil {
		return local(err)
	}
	_ = os.Remove(p.notesPath()) // without its part it says nothing
	if dir, err := os.Open(p.dir); err == nil {
		_ = dir.Sync() // not every file system can
		dir.Close()
	}
	return nil
}

func (p *part) keep() bool {
	if p.length == 0 || p.notes.Validator == "" {
		p.discard()
		return false
	}
	defer p.file.Close()
	if p.cut() == nil && p.file.Sync() == nil { // reserved room is given back
		p.notes.Synced, p.notes.Boot = p.length, boot()
		_ = p.note()
	}
	return true
}

func (p *part) discard() {
	_ = os.Remove(p.path)
	_ = os.Remove(p.notesPath())
	p.file.Close()
}

var _ output = (*part)(nil)
