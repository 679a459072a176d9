package swarmsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEventsRunInTheOrderOfTheirTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		var ran, set int
		last := -1
		add := func() {
			at := c.now + time.Duration(rapid.IntRange(0, 5).Draw(t, "in"))
			c.at(at, set, func(arg int) {
				require.Equal(t, at, c.now)
				last = arg
				ran++
			})
			set++
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				add()
				continue
			}
			before, number := c.now, last
			if c.step() && c.now == before {
				require.Greater(t, last, number)
			}
			require.GreaterOrEqual(t, c.now, before)
		}
		for c.step() {
		}
		require.Equal(t, set, ran)
	})
}
