package daemon

import (
	"context"
	"net"

	"github.com/containerd/log"
)

// WarnIfOpen says so when an address that is for this machine is open to
// others.
func WarnIfOpen(ctx context.Context, key, addr string) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return
	}
	log.G(ctx).WithField("address", addr).Warnf("%s is open to other machines, without authentication", key)
}
