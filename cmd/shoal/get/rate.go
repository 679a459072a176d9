package get

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// ParseRate reads a rate in bytes per second as curl writes it: 200K, 1.5M. The
// suffixes K, M, G, T and P, of either case, count by 1024.
func ParseRate(s string) (int64, error) {
	number, factor := s, 1.0
	if s != "" {
		if i := strings.IndexByte("KMGTP", s[len(s)-1]&^0x20); i >= 0 {
			number, factor = s[:len(s)-1], math.Pow(1024, float64(i+1))
		}
	}
	wrong := fmt.Errorf("rate %q: it is bytes per second, such as 500K, 10M or 1.5G", s)
	if strings.Trim(number, "0123456789.") != "" {
		return 0, wrong
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*factor < 1 || f*factor >= math.MaxInt64 {
		return 0, wrong
	}
	return int64(f * factor), nil
}

// brake keeps reading to a rate. A nil brake does not.
type brake struct{ limiter *rate.Limiter }

// newBrake returns the brake for so many bytes per second; nil for 0.
func newBrake(perSecond int64) *brake {
	if perSecond == 0 {
		return nil
	}
	burst := min(max(perSecond/10, 1), buffer)
	return &brake{rate.NewLimiter(rate.Limit(perSecond), int(burst))}
}

// fit cuts buf to what may be read at once.
func (b *brake) fit(buf []byte) []byte {
	if b == nil {
		return buf
	}
	return buf[:min(len(buf), b.limiter.Burst())]
}

// wait waits until n more bytes may be read.
func (b *brake) wait(ctx context.Context, n int) error {
	if b == nil || n == 0 {
		return nil
	}
	if err := b.limiter.WaitN(ctx, n); err != nil {
		<-ctx.Done() // WaitN knows beforehand that the deadline comes first
		return ended(ctx)
	}
	return nil
}
