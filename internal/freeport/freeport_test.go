package freeport

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAServerCanListenOnEach(t *testing.T) {
	addrs, err := Addrs(50)
	require.NoError(t, err)
	require.Len(t, addrs, 50)
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		defer l.Close()
	}
}

func TestThereIsAnEndToThem(t *testing.T) {
	_, err := Addrs(1001)
	require.ErrorContains(t, err, "no free ports")
}
