package p2p

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAQuarterOfTheMemoryIsForUrgentPieces(t *testing.T) {
	m := newMemory(4 << 20)
	var held []*buffer
	for b := m.take(1<<20, false); b != nil; b = m.take(1<<20, false) {
		held = append(held, b)
	}
	require.Len(t, held, 3)
	urgent := m.take(1<<20, true)
	require.NotNil(t, urgent)
	require.Nil(t, m.take(1, true), "the budget is the budget")

	room := m.roomChanged()
	urgent.release()
	<-room
	require.NotNil(t, m.take(1, true))
}

func TestABufferGoesBackWithItsLastHolder(t *testing.T) {
	m := newMemory(MinMemory)
	b := m.take(1000, false)
	require.Len(t, b.data, 1000)
	b.hold()
	b.release()
	require.EqualValues(t, smallestBuffer, m.inUse())
	b.release()
	require.Zero(t, m.inUse())
	require.Panics(t, b.release)
}

func TestMemoryNeverExceedsItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(MinMemory)
		var held []*buffer
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				held[0].release()
				held = held[1:]
				continue
			}
			size := rapid.Int64Range(1, 16<<20).Draw(t, "size")
			if b := m.take(size, rapid.Bool().Draw(t, "urgent")); b != nil {
				require.Len(t, b.data, int(size))
				held = append(held, b)
			}
		}
		m.mu.Lock()
		used, idle := m.used, m.idle
		m.mu.Unlock()
		require.LessOrEqual(t, used+idle, m.limit)
		for _, b := range held {
			b.release()
		}
		require.Zero(t, m.inUse())
	})
}
