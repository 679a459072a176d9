package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/cmd/shoal/get"
)

// transfers shows how far files are, one after the other.
type transfers interface {
	get.Watcher
	// polled shows what the engine has done between two moments.
	polled(before, now *agent.Status)
	// end closes what is shown of a file.
	end()
}

func newTransfers(w io.Writer, mode string) (transfers, error) {
	f, ok := w.(*os.File)
	switch {
	case mode == "none":
		return &plainTransfers{w: w}, nil
	case mode == "auto" && ok && term.IsTerminal(int(f.Fd())):
		return &barTransfers{w: w}, nil
	case mode == "auto" || mode == "plain":
		return &plainTransfers{w: w, every: 10 * time.Second}, nil
	}
	return nil, fmt.Errorf("--progress %s is unknown: it is auto, plain or none", mode)
}

// plainTransfers prints a line from time to time.
type plainTransfers struct {
	w     io.Writer
	every time.Duration // 0: notes alone

	mu    sync.Mutex
	file  string
	meter meter
	last  time.Time // of a line
}

func (p *plainTransfers) Started(name string, size, offset int64, _ string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file, p.meter, p.last = name, newMeter(size, time.Now(), offset), time.Now()
}

func (p *plainTransfers) Moved(offset int64) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter.move(now, offset)
	if p.every > 0 && now.Sub(p.last) >= p.every {
		p.last = now
		fmt.Fprintf(p.w, "%s %s %s\n", now.Format(time.TimeOnly), p.file, p.meter.line(now))
	}
}

func (p *plainTransfers) Note(text string) {
	fmt.Fprintf(p.w, "%s %s\n", time.Now().Format(time.TimeOnly), text)
}

func (p *plainTransfers) polled(_, _ *agent.Status) {}
func (p *plainTransfers) end()                      {}

// barTransfers draws a bar for the file, with a line about its sources below.
type barTransfers struct {
	w io.Writer

	mu    sync.Mutex
	p     *mpb.Progress // nil between files
	bar   *mpb.Bar
	meter meter
	task  string // of the swarm
	from  string
}

// maxLabel is how much of a name stands before a bar.
const maxLabel = 24

func (b *barTransfers) Started(name string, size, offset int64, task string) {
	b.mu.Lock()
	b.task = task
	b.meter = newMeter(size, time.Now(), offset)
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.w), mpb.WithWidth(30))
		b.bar = b.newBar(name, size)
	}
	bar := b.bar
	b.mu.Unlock() // the bar asks for it when it is drawn
	if size >= 0 {
		bar.SetTotal(size, false)
	}
	bar.SetCurrent(offset)
}

func (b *barTransfers) newBar(name string, size int64) *mpb.Bar {
	if r := []rune(name); len(r) > maxLabel {
		name = string(r[:maxLabel-1]) + "…"
	}
	style := mpb.BarFillerBuilder(mpb.BarStyle())
	if size < 0 {
		style = mpb.NopStyle()
	}
	return b.p.New(0, style, // a total would make it go at the last byte, before the file is there
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return " " + b.meter.line(time.Now())
		})),
		mpb.BarExtender(mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			_, err := fmt.Fprintln(w, b.from[:min(len(b.from), s.AvailableWidth)])
			return err
		}), false))
}

func (b *barTransfers) Moved(offset int64) {
	b.mu.Lock()
	b.meter.move(time.Now(), offset)
	bar := b.bar
	b.mu.Unlock()
	bar.SetCurrent(offset)
}

func (b *barTransfers) Note(text string) {
	b.mu.Lock()
	p := b.p
	b.mu.Unlock()
	if p == nil {
		fmt.Fprintln(b.w, text)
	} else {
		_, _ = fmt.Fprintln(p, text) // above the bar
	}
}

func (b *barTransfers) polled(before, now *agent.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = "  " + bySource(taskOf(before, b.task).Bytes, taskOf(now, b.task).Bytes)
	if n := taskOf(now, b.task).Peers; n > 0 {
		b.from += fmt.Sprintf(" (%d peers)", n)
	}
}

func (b *barTransfers) end() {
	b.mu.Lock()
	p, bar := b.p, b.bar
	b.p, b.bar, b.from = nil, nil, ""
	b.mu.Unlock()
	if p != nil {
		bar.Abort(true)
		p.Wait()
	}
}
