package resolver

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPausingReaderDoesNotLoseTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		g := guard(r, 30*time.Second)
		defer g.Close()
		go func() { _, _ = w.Write([]byte("ab")) }()
		buf := make([]byte, 1)
		for range 2 {
			_, err := g.Read(buf)
			require.NoError(t, err)
			time.Sleep(time.Hour) // in the test's own time
		}
		start := time.Now()
		_, err := g.Read(buf)
		require.ErrorContains(t, err, "sent nothing for 30s")
		require.Equal(t, 30*time.Second, time.Since(start))
	})
}
