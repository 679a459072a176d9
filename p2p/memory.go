package p2p

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// MinMemory is the smallest piece memory that a node works with: some pieces of
// the common sizes, and one of the largest.
const MinMemory = 32 << 20

// memory is the one budget for the pieces of all blobs. Buffers are kept for
// reuse, so that the heap does not grow beyond the budget between collections.
type memory struct {
	limit int64

	mu    sync.Mutex
	used  int64              // bytes in buffers that are out
	idle  int64              // bytes in buffers kept for reuse
	free  map[int64][][]byte // by capacity
	space chan struct{}      // closed when a buffer comes back
}

// buffer is a piece's bytes. It goes back to the budget when the last holder
// releases it.
type buffer struct {
	m    *memory
	data []byte
	refs atomic.Int32
}

const smallestBuffer = 4 << 10

func newMemory(limit int64) *memory {
	return &memory{limit: limit, free: map[int64][][]byte{}, space: make(chan struct{})}
}

func capacityFor(size int64) int64 {
	if size <= smallestBuffer {
		return smallestBuffer
	}
	return 1 << bits.Len64(uint64(size-1))
}

// take returns a buffer of size bytes with one holder, or nil if the budget
// has no room. A quarter of it is for urgent pieces: those that somebody waits
// for and that go on as soon as they are here, so that pieces which cannot go
// on yet never fill it all.
func (m *memory) take(size int64, urgent bool) *buffer {
	c := capacityFor(size)
	limit := m.limit
	if !urgent {
		limit -= m.limit / 4
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+c > limit {
		return nil
	}
	m.used += c
	b := &buffer{m: m}
	b.refs.Store(1)
	if list := m.free[c]; len(list) > 0 {
		b.data = list[len(list)-1][:size]
		m.free[c] = list[:len(list)-1]
		m.idle -= c
		return b
	}
	for k, list := range m.free { // make room for a buffer of another capacity
		for m.used+m.idle > m.limit && len(list) > 0 {
			list = list[:len(list)-1]
			m.idle -= k
		}
		m.free[k] = list
	}
	b.data = make([]byte, size, c)
	return b
}

// roomChanged returns a channel that is closed when a buffer comes back.
func (m *memory) roomChanged() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.space
}

func (m *memory) inUse() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func (b *buffer) hold() *buffer {
	b.refs.Add(1)
	return b
}

func (b *buffer) release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("p2p: buffer released twice")
	}
	m, c := b.m, int64(cap(b.data))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= c
	if m.used+m.idle+c <= m.limit {
		m.free[c] = append(m.free[c], b.data[:0])
		m.idle += c
	}
	b.data = nil
	close(m.space)
	m.space = make(chan struct{})
}

// takeMemory returns memory for a piece of a task, if need be at the expense of
// pieces that the store has, that nobody waits for, or that nobody will ask for
// soon; or of any later ones if a client waits for this one. Callers hold n.mu.
func (n *Node) takeMemory(t *task, i int) *buffer {
	size, urgent := t.layout.Len(i), t.urgent(i)
	b := n.mem.take(size, urgent)
	if b != nil {
		return b
	}
	enough := func() bool {
		if b == nil {
			b = n.mem.take(size, urgent)
		}
		return b != nil
	}
	for _, t := range n.tasks {
		if t.known {
			t.forget(enough)
		}
		if enough() {
			break
		}
	}
	for awaited := t.awaited(i); !enough() && n.displace(awaited); {
	}
	return b
}

// displace drops the piece from memory that the most others come before, of
// those that can be read again, and unless any will do of those beyond every
// window. It reports whether there was one. Callers hold n.mu.
func (n *Node) displace(whichever bool) bool {
	var of *task
	piece, most := 0, 0
	for _, t := range n.tasks {
		if t.keeps || t.ingest == nil { // the sink will make room
			continue
		}
		least := 0
		if !whichever {
			least = t.width()
		}
		for i := range t.bufs {
			if d := t.distance(i); d > most && d >= least {
				of, piece, most = t, i, d
			}
		}
	}
	if of == nil {
		return false
	}
	of.drop(piece)
	return true
}
