package delivery

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// stride is how many bytes a client must read within its time: 14 kB/s at the
// mirror's default.
const stride = 4 << 20

// Content is what can be sent.
type Content interface {
	CopyRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error)
}

// Copy sends the part that was announced. stall is how long the client may read
// nothing before the connection is cut. After an error the connection is of no use.
func Copy(ctx context.Context, w http.ResponseWriter, c Content, s Span, stall time.Duration) error {
	control := http.NewResponseController(w)
	for s.Length > 0 {
		_ = control.SetWriteDeadline(time.Now().Add(stall))
		n, err := c.CopyRange(ctx, w, s.Offset, min(s.Length, stride))
		if err != nil {
			return err
		}
		s.Offset, s.Length = s.Offset+n, s.Length-n
	}
	_ = control.SetWriteDeadline(time.Time{})
	return nil
}

// ClientLeft reports whether an error of [Copy] is of the connection to the client.
// containerd closes early as a matter of course.
func ClientLeft(ctx context.Context, err error) bool {
	var op *net.OpError
	return ctx.Err() != nil || errors.As(err, &op) && op.Op != "read" && op.Op != "dial"
}
