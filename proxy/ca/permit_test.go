package ca

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatACAPermitsIsKnownWithoutItsKey(t *testing.T) {
	names := []string{"a.test", "sub.a.test", "b.test", "10.1.2.3", "11.1.2.3", "fd00::1", "fd01::1", "localhost"}
	for _, c := range []struct {
		constraints []string
		permitted   []string
	}{
		{nil, names},
		{[]string{"a.test", "10.0.0.0/8"}, []string{"a.test", "sub.a.test", "10.1.2.3"}},
		{[]string{"b.test"}, []string{"b.test"}},
		{[]string{"fd00::1/128"}, []string{"fd00::1"}},
	} {
		certFile, keyFile := create(t, Options{Constraints: c.constraints})
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		require.NoError(t, err)
		require.Equal(t, c.constraints, Constraints(pair.Leaf))
		issuer, err := Load(certFile, keyFile)
		require.NoError(t, err)
		var permitted []string
		for _, name := range names {
			_, real := issuer.Certificate(name)
			err := Permits(pair.Leaf, name)
			require.Equal(t, real == nil, err == nil, "%v: %s: %v, but %v", c.constraints, name, err, real)
			if err == nil {
				permitted = append(permitted, name)
			}
		}
		require.Equal(t, c.permitted, permitted)
	}
}

func TestWhatIsPermittedOfOtherPairs(t *testing.T) {
	i := issuerAt(t, &clock{time.Now()}, Options{})
	leaf, err := i.Certificate("a.test")
	require.NoError(t, err)
	require.NoError(t, Permits(leaf.Leaf, "a.test"))
	require.ErrorContains(t, Permits(leaf.Leaf, "b.test"), "b.test", "it is presented as it is")

	certFile, keyFile := create(t, Options{ValidFor: -time.Minute})
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	require.ErrorContains(t, Permits(pair.Leaf, "a.test"), "is valid from")
}
