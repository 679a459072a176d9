package cli

import (
	"fmt"
	"time"
)

// meter tells how fast a file grows and when it will be whole. It has no clock.
type meter struct {
	size    int64 // -1 if unknown
	offset  int64
	samples []sample // of the last meterWindow, oldest first
}

type sample struct {
	at     time.Time
	offset int64
}

const (
	meterWindow  = 10 * time.Second
	meterSpacing = meterWindow / 40
)

func newMeter(size int64, now time.Time, offset int64) meter {
	return meter{size: size, offset: offset, samples: []sample{{now, offset}}}
}

func (m *meter) move(now time.Time, offset int64) {
	m.offset = offset
	if n := len(m.samples); n > 0 && now.Sub(m.samples[n-1].at) < meterSpacing {
		return
	}
	m.samples = append(m.samples, sample{now, offset})
	m.forget(now)
}

// forget drops what is older than the window, but for the last sample.
func (m *meter) forget(now time.Time) {
	drop := 0
	for drop < len(m.samples)-1 && now.Sub(m.samples[drop].at) > meterWindow {
		drop++
	}
	m.samples = append(m.samples[:0], m.samples[drop:]...)
}

// rate is in bytes per second, over the window.
func (m *meter) rate(now time.Time) float64 {
	m.forget(now)
	if len(m.samples) == 0 {
		return 0
	}
	first := m.samples[0]
	passed := now.Sub(first.at)
	if passed <= 0 {
		return 0
	}
	return float64(m.offset-first.offset) / passed.Seconds()
}

// line is all that there is to say.
func (m *meter) line(now time.Time) string {
	rate := m.rate(now)
	if m.size < 0 {
		return fmt.Sprintf("%s, %s/s", size(m.offset), size(int64(rate)))
	}
	percent := 100.0
	if m.size > 0 {
		percent = 100 * float64(m.offset) / float64(m.size)
	}
	text := fmt.Sprintf("%.0f %% of %s, %s/s", percent, size(m.size), size(int64(rate)))
	if left := m.size - m.offset; left > 0 && rate >= 1 {
		seconds := float64(left) / rate
		if seconds < float64(100*24*time.Hour/time.Second) {
			text += fmt.Sprintf(", %v left", time.Duration(seconds*float64(time.Second)).Round(time.Second))
		}
	}
	return text
}
