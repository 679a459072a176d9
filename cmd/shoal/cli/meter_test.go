package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAMeterTellsTheRateOfTheLastSeconds(t *testing.T) {
	now := time.Unix(0, 0)
	m := newMeter(100<<20, now, 40<<20)
	require.Equal(t, "40 % of 100.0 MiB, 0 B/s", m.line(now))
	for i := range 20 { // 20 s at 1 MiB/s, in small steps
		for j := range 100 {
			now = now.Add(10 * time.Millisecond)
			m.move(now, 40<<20+int64(i*100+j+1)<<20/100)
		}
	}
	require.Equal(t, "60 % of 100.0 MiB, 1.0 MiB/s, 40s left", m.line(now))
	require.LessOrEqual(t, len(m.samples), 42)
	now = now.Add(time.Minute)
	require.Equal(t, "60 % of 100.0 MiB, 0 B/s", m.line(now), "nothing came for a minute")
	m.move(now, 100<<20)
	require.Contains(t, m.line(now), "100 % of 100.0 MiB")
}

func TestAMeterWithoutASize(t *testing.T) {
	now := time.Unix(0, 0)
	m := newMeter(-1, now, 0)
	m.move(now.Add(time.Second), 2<<20)
	require.Equal(t, "2.0 MiB, 1.0 MiB/s", m.line(now.Add(2*time.Second)))
	m = newMeter(0, now, 0)
	require.Equal(t, "100 % of 0 B, 0 B/s", m.line(now))
}
