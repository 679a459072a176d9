package p2p

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBurstsDoNotMakeALinkLookFast(t *testing.T) {
	var m meter
	const rate = 4 << 20 // bytes per second
	now := time.Now()
	moved := int64(0)
	for i := range 200 {
		now = now.Add(tick)
		if i%4 == 3 { // what four ticks bring, at once
			moved += rate * 4 / int64(time.Second/tick)
		}
		m.read(moved, now)
		if i > 2*span {
			require.InEpsilon(t, rate, m.best, 0.01)
		}
	}
}

func TestALinkIsKnownToBeFastAtOnceAndFadesSlowly(t *testing.T) {
	var m meter
	now := time.Now()
	m.read(0, now)
	require.Zero(t, m.best)
	m.read(1<<20, now.Add(tick))
	require.InEpsilon(t, 10<<20, m.best, 0.01)
	for i := range 100 {
		m.read(1<<20*int64(min(i+2, 20)), now.Add(time.Duration(i+2)*tick))
	}
	require.Greater(t, m.best, 9.0*(1<<20), "idle for 8 s")
	m.read(1<<20*20, now.Add(101*tick))
	require.LessOrEqual(t, len(m.readings), span)
}
