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
	// What all senders together may have on their way to this node: what passes
	// in backlogTime, or more on a slow link, where a late wake-up must not let it
	// idle. The sender's buffer does not bound that: Linux adds up to 64 KiB.
	windowTime  = 0.025     // seconds, on a slow link
	slowWindow  = 128 << 10 // at most, there
	leastWindow = 8 << 10   // of one connection
	mostWindow  = 64 << 20
	// leastPackets must fit into a window: with less TCP waits for timers, the
	// link looks slower than it is, and the next window would be smaller still.
	leastPackets = 4
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

// windowSize is how many bytes a sender may have on its way, one of slots on a
// link of rate bytes per second.
func windowSize(rate float64, slots int) float64 {
	return max(leastWindow, max(rate*backlogTime, min(rate*windowTime, slowWindow))/float64(slots))
}

// boundWindow lets a sender have no more on its way to c, if that is enough for a
// few packets and for two round trips.
func boundWindow(c net.Conn, rate float64, slots int) {
	if rate <= 0 {
		return
	}
	control(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		size := max(windowSize(rate, slots), leastPackets*float64(info.Advmss), 2*rate*float64(info.Min_rtt)/1e6)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, int(min(size, mostWindow)))
	})
}

// wakeSize is how many bytes are worth a wake-up on one of slots connections, on a
// link of rate bytes per second.
func wakeSize(rate float64, slots int) int {
	return int(min(max(rate*wakeTime, leastAwake), mostAwake, windowSize(rate, slots)/2))
}

// wakeAfter lets readers of c sleep until size bytes have arrived.
func wakeAfter(c net.Conn, size int) { setOption(c, unix.SO_RCVLOWAT, size) }

func setOption(c net.Conn, option, value int) {
	control(c, func(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value) })
}

// control is for optimisations: what cannot be tuned works all the same.
func control(c net.Conn, tune func(fd int)) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { tune(int(fd)) })
	}
}
