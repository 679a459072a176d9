package proxy

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereNobodyMayGo(t *testing.T) {
	local := func(ip netip.Addr) bool {
		return ip == netip.MustParseAddr("10.0.0.5") || ip == netip.MustParseAddr("fd00::5")
	}
	g := NewGuard([]netip.Prefix{netip.MustParsePrefix("169.254.7.0/24"), netip.MustParsePrefix("10.9.0.0/16")})
	for _, at := range []string{"127.0.0.1:65003", "0.0.0.0:65002", "10.0.0.5:8002", "[::]:7000", "10.9.0.1:9000"} {
		a, err := net.ResolveTCPAddr("tcp", at)
		require.NoError(t, err)
		g.Own(a)
	}
	for at, refused := range map[string]bool{
		// The agent itself.
		"127.0.0.1:65003": true, "0.0.0.0:65003": true, "[::]:65003": true, "[::ffff:127.0.0.1]:65003": true,
		"127.0.0.1:65002": true, "127.9.9.9:65002": true, "10.0.0.5:65002": true, "[::1]:7000": true, "[fd00::5]:7000": true, "10.0.0.5:7000": true, "0.0.0.0:7000": true,
		"10.0.0.5:8002": true, "[64:ff9b::10.0.0.5]:8002": true,
		// Others that look like it.
		"10.0.0.5:65003": false, "127.0.0.2:65003": false, "10.0.0.6:65002": false, "127.0.0.1:8002": false, "0.0.0.0:8002": false, "127.0.0.1:80": false,
		// What means another thing on each machine.
		"169.254.169.254:80": true, "[fe80::1]:80": true, "[fe80::1%eth0]:80": true, "[::ffff:169.254.169.254]:80": true,
		"[64:ff9b::169.254.169.254]:80": true, "[fd00:ec2::254]:80": true, "100.100.100.200:80": true, "168.63.129.16:80": true, "192.0.0.192:80": true,
		"224.0.0.1:80": true, "[ff02::1]:80": true,
		// What the operator lets through.
		"169.254.7.1:80": false, "10.9.0.1:9000": false,
		// Everything else.
		"10.0.0.6:80": false, "192.168.0.1:443": false, "[2001:db8::1]:443": false, "8.8.8.8:443": false,
	} {
		err := g.check(netip.MustParseAddrPort(at), local)
		if !refused {
			require.NoError(t, err, at)
			continue
		}
		var f *forbidden
		require.ErrorAs(t, err, &f, at)
		require.ErrorContains(t, err, "proxy.allow_to opens it")
	}
}

func TestAddressesOfThisMachineAreKnown(t *testing.T) {
	require.True(t, isLocal(netip.MustParseAddr("127.0.0.1")))
	require.False(t, isLocal(netip.MustParseAddr("192.0.2.1"))) // TEST-NET-1
}
