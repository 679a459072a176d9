package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// display shows how far the parts of an image are.
type display interface {
	// show tells that offset bytes of a part have come. It may be called from
	// several goroutines.
	show(desc ocispec.Descriptor, offset int64)
	end()
}

func newDisplay(w io.Writer, mode string) (display, error) {
	switch mode {
	case "none":
		return silent{}, nil
	case "plain":
		return &lines{w: w, done: map[string]bool{}}, nil
	case "auto":
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return &bars{p: mpb.New(mpb.WithOutput(w), mpb.WithWidth(48)), bars: map[string]*mpb.Bar{}}, nil
		}
		return &lines{w: w, done: map[string]bool{}}, nil
	}
	return nil, fmt.Errorf("--progress %s is unknown: it is auto, plain or none", mode)
}

type silent struct{}

func (silent) show(ocispec.Descriptor, int64) {}
func (silent) end()                           {}

// lines prints a line for each part that is whole.
type lines struct {
	w    io.Writer
	mu   sync.Mutex
	done map[string]bool
}

func (l *lines) show(desc ocispec.Descriptor, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := desc.Digest.String()
	if offset < desc.Size || l.done[id] {
		return
	}
	l.done[id] = true
	fmt.Fprintf(l.w, "%s %s %s\n", time.Now().Format(time.TimeOnly), short(id), size(desc.Size))
}

func (l *lines) end() {}

// bars draws a bar for each part.
type bars struct {
	p    *mpb.Progress
	mu   sync.Mutex
	bars map[string]*mpb.Bar
}

func (b *bars) show(desc ocispec.Descriptor, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := desc.Digest.String()
	bar := b.bars[id]
	if bar == nil {
		bar = b.p.AddBar(desc.Size,
			mpb.PrependDecorators(
				decor.Name(short(id), decor.WCSyncSpaceR),
				decor.CountersKibiByte("% .1f / % .1f", decor.WCSyncSpace)),
			mpb.AppendDecorators(
				decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WCSyncSpace),
				decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), "done")))
		b.bars[id] = bar
	}
	bar.SetCurrent(offset)
}

func (b *bars) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bar := range b.bars {
		bar.Abort(false) // does nothing to those that are done
	}
	b.p.Wait()
}
