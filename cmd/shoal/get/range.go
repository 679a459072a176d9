package get

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Range is a part of a file. Its zero value is the whole file.
type Range struct {
	kind        rangeKind
	first, last int64 // of closed and open ranges: offsets in the file, both included
	count       int64 // of tails
}

type rangeKind int

const (
	whole  rangeKind = iota
	closed           // first to last
	open             // from first on
	tail             // the last count bytes
)

// ParseRange reads a range as curl writes it: 100-199, 100- or -100.
func ParseRange(s string) (Range, error) {
	wrong := fmt.Errorf("range %q: it is FIRST-LAST, FIRST- or -COUNT, in bytes", s)
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return Range{}, wrong
	}
	number := func(s string) int64 {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return -1
		}
		return int64(n)
	}
	a, b := number(first), number(last)
	switch {
	case first == "" && b > 0:
		return Range{kind: tail, count: b}, nil
	case first == "" && b == 0:
		return Range{}, fmt.Errorf("range %q: it has no byte", s)
	case last == "" && a >= 0:
		return Range{kind: open, first: a, last: math.MaxInt64}, nil
	case a < 0 || b < 0:
		return Range{}, wrong
	case b < a || b == math.MaxInt64:
		return Range{}, fmt.Errorf("range %q: it ends before it begins, or nowhere", s)
	}
	return Range{kind: closed, first: a, last: b}, nil
}

// String is the value of a Range header, "" for the whole file.
func (r Range) String() string {
	switch r.kind {
	case closed:
		return fmt.Sprintf("bytes=%d-%d", r.first, r.last)
	case open:
		return fmt.Sprintf("bytes=%d-", r.first)
	case tail:
		return fmt.Sprintf("bytes=-%d", r.count)
	}
	return ""
}

// of is the range's first byte and length in a file of total bytes; the length
// is -1 if total is and the range has no end. ok is false if the file has not
// one byte of it.
func (r Range) of(total int64) (base, size int64, ok bool) {
	switch {
	case r.kind == whole:
		return 0, total, true
	case r.kind == tail:
		base = max(total-r.count, 0)
		return base, total - base, total > 0
	case total < 0 && r.kind == open:
		return r.first, -1, true
	case total < 0:
		return r.first, r.last - r.first + 1, true
	}
	return r.first, min(r.last, total-1) - r.first + 1, r.first < total
}

// contentRange reads the header of a 206: bytes 0-99/200, or 0-99/* with total -1.
func contentRange(s string) (first, last, total int64, ok bool) {
	unit, s, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	span, of, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, 0, false
	}
	r, err := ParseRange(span)
	if err != nil || r.kind != closed {
		return 0, 0, 0, false
	}
	if of == "*" {
		return r.first, r.last, -1, true
	}
	n, err := strconv.ParseUint(of, 10, 63)
	if err != nil || int64(n) <= r.last {
		return 0, 0, 0, false
	}
	return r.first, r.last, int64(n), true
}
