package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Guard refuses connections to where no client may be led: the agent's own
// addresses, whose operators' port is open to this machine alone, and addresses
// that mean something else on each machine, where clouds give out credentials.
// It is safe for concurrent use.
//
// It sees the address that is dialled, so no name and no redirect leads past it.
type Guard struct {
	allow []netip.Prefix

	mu  sync.Mutex
	own []netip.AddrPort
}

// NewGuard makes a guard that lets through to the networks in allow.
func NewGuard(allow []netip.Prefix) *Guard { return &Guard{allow: allow} }

// Own adds addresses at which the agent listens.
func (g *Guard) Own(addrs ...net.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addrs {
		if tcp, ok := a.(*net.TCPAddr); ok {
			own := tcp.AddrPort()
			g.own = append(g.own, netip.AddrPortFrom(own.Addr().Unmap().WithZone(""), own.Port()))
		}
	}
}

// Control is for a net.Dialer, as its ControlContext.
func (g *Guard) Control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil { // a socket of another kind, which no URL leads to
		return &forbidden{address, "it is no TCP address"}
	}
	return g.check(to, isLocal)
}

// check returns an error if nobody may go to an address. local reports whether
// an address is this machine's.
func (g *Guard) check(to netip.AddrPort, local func(netip.Addr) bool) error {
	ip := embedded(to.Addr().Unmap().WithZone(""))
	for _, p := range g.allow {
		if p.Contains(ip) {
			return nil
		}
	}
	if why := special(ip); why != "" {
		return &forbidden{to.String(), why}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, own := range g.own {
		if own.Port() == to.Port() && reaches(ip, own.Addr(), local) {
			return &forbidden{to.String(), "it is the agent itself"}
		}
	}
	return nil
}

// reaches reports whether a connection to an address arrives at a listener.
func reaches(to, listener netip.Addr, local func(netip.Addr) bool) bool {
	switch {
	case to.IsUnspecified(): // Linux takes it for the loopback address
		return listener.IsUnspecified() || listener.IsLoopback()
	case listener.IsUnspecified():
		return to.IsLoopback() || local(to)
	}
	return to == listener
}

// forbidden is the error of a connection that the guard refuses.
type forbidden struct{ addr, why string }

// Forbidden tells others what kind of an error it is.
func (f *forbidden) Forbidden() {}

func (f *forbidden) Error() string {
	return fmt.Sprintf("%s is refused: %s; proxy.allow_to opens it", f.addr, f.why)
}

// clouds are the addresses, beside those of the link, at which clouds tell a
// machine's credentials to whoever asks from it.
var clouds = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
}

// special says why an address is not to be reached, "" if it is.
func special(ip netip.Addr) string {
	switch {
	case ip.IsLinkLocalUnicast():
		return "it is a link-local address"
	case ip.IsMulticast():
		return "it is a multicast address"
	}
	for _, c := range clouds {
		if ip == c {
			return "it is the metadata address of a cloud"
		}
	}
	return ""
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052

// embedded is the IPv4 address that an address stands for, else the address.
func embedded(ip netip.Addr) netip.Addr {
	if !nat64.Contains(ip) {
		return ip
	}
	b := ip.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// isLocal reports whether an address is one of this machine's. It errs towards
// yes.
func isLocal(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == ip {
				return true
			}
		}
	}
	return false
}
