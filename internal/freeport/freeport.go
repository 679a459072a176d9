// Package freeport finds addresses for servers that tests and benchmarks start.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Where Linux takes the ports of outgoing connections from begins above; a port
// from there may be gone before the server that it was meant for listens.
const first, last = 10_000, 32_000

// Addrs returns n loopback addresses, host:port, that nobody listens on.
func Addrs(n int) ([]string, error) {
	var out []string
	for range 1000 {
		if len(out) == n {
			return out, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first)))
		if err != nil {
			continue
		}
		defer l.Close() // in the end, so that none is given twice
		out = append(out, l.Addr().String())
	}
	return nil, errors.New("freeport: there are no free ports")
}
