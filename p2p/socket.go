package p2p

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// The kernel may hold of all uploads together what passes in backlogTime:
	// in its queues and those on the way it delays what neighbours say to each
	// other, and makes a transfer look done before it is.
	// It is never so little that a link which looked slow once stays slow.
	backlogTime  = 0.006 // seconds
	leastBacklog = 64 << 10
	// mostShare of one connection is what Linux grants by default.
	mostShare = 208 << 10
	// A reader is woken when wakeTime of the link's rate has arrived, within
	// bounds: one wake-up for every few packets costs more than all the rest.
	wakeTime   = 0.004 // seconds
	leastAwake = 8 << 10
	mostAwake  = 64 << 10
)

type connKey struct{}

// ConnContext is for the http.Server that serves [Node.Handler]: it lets the
// node tune the connections on which it sends pieces.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// holdUnsent bounds what the kernel buffers on the connection of a request, one
// of slots on a link of rate bytes per second.
func holdUnsent(ctx context.Context, rate float64, slots int) {
	c, ok := ctx.Value(connKey{}).(net.Conn)
	if ok && rate > 0 {
		setOption(c, unix.SO_SNDBUF, min(int(max(leastBacklog, rate*backlogTime))/slots, mostShare))
	}
}

// wakeSize is how many bytes are worth a wake-up on a link of rate bytes per
// second.
func wakeSize(rate float64) int { return int(min(max(rate*wakeTime, leastAwake), mostAwake)) }

// wakeAfter lets readers of c sleep until size bytes have arrived.
func wakeAfter(c net.Conn, size int) { setOption(c, unix.SO_RCVLOWAT, size) }

// setOption is an optimisation: what cannot be tuned works all the same.
func setOption(c net.Conn, option, value int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value) })
	}
}
