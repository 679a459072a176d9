package get

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
)

// Options say how files are downloaded.
type Options struct {
	Engine http.RoundTripper
	Stdout io.Writer // for the output -

	Header  http.Header     // the user's, for the source
	Source  bool            // from the source itself, past the swarm
	Keep    bool            // in the agent's store, too
	Filter  []string        // parameters of the query that do not name content
	Range   Range           // a part of the file
	Digests []digest.Digest // what the content shall have; see ParseDigest, ParseMD5

	Rate       int64         // bytes per second at most; 0: as fast as it goes
	Stall      time.Duration // how long nothing may come; 0: without end
	Retries    int           // tries, one after the other, in which nothing came
	RetryDelay time.Duration // before the first of them; it doubles, up to 30 s

	Watch Watcher
}

// Watcher is told how a download goes.
type Watcher interface {
	// Started: bytes come for the output, which has offset of size bytes; size is
	// -1 if nobody knows it. It is called again after an interruption. task is
	// that of the swarm, "" if it has none.
	Started(name string, size, offset int64, task string)
	// Moved: the output has offset bytes.
	Moved(offset int64)
	// Note is a line for the user.
	Note(text string)
}

// Result is a finished download.
type Result struct {
	Name   string // of the output, fit for a terminal
	Size   int64
	Came   int64 // bytes that came now: less than Size if a part was there
	Digest digest.Digest
	Task   string // of the swarm, that it came from; "" if it came past that
	Stale  bool   // the source could not be asked whether it is still so
}

// Getter downloads one file after the other.
type Getter struct {
	o    Options
	done map[string]bool // outputs
}

// New returns a Getter.
func New(o Options) *Getter {
	return &Getter{o: o, done: map[string]bool{}}
}

// Get downloads the file at u to output, which is as -o: a file, a folder, "-",
// or "" for the current folder. Its errors are of type [*Error] or wrap one.
func (g *Getter) Get(ctx context.Context, u *url.URL, output string) (Result, error) {
	r, err := g.get(ctx, u, output)
	if err != nil {
		return r, fmt.Errorf("%s: %w", shown(u), err)
	}
	return r, nil
}

func (g *Getter) get(ctx context.Context, u *url.URL, output string) (Result, error) {
	d := &download{o: g.o, brake: newBrake(g.o.Rate), url: u, sums: newSums(g.o.Digests)}
	if err := g.open(ctx, d, output); err != nil {
		return Result{}, err
	}
	err := d.run(ctx)
	if err == nil {
		err = d.sums.check()
	}
	if KindOf(err) == Mismatch {
		d.out.discard()
		return Result{}, err
	}
	if err != nil {
		if d.out.keep() {
			err = fmt.Errorf("%w; the part that came is kept, and the same command goes on from there", err)
		}
		return Result{}, err
	}
	if err := d.out.finish(); err != nil {
		return Result{}, err
	}
	r := d.result
	r.Name, r.Size, r.Digest = d.out.name(), d.offset, d.sums.digest(d.sums.first)
	if p, ok := d.out.(*part); ok {
		g.done[p.target()] = true
	}
	return r, nil
}

// digest is the one of the file that an engine can know it by; "" if there is none.
func (d *download) digest() digest.Digest {
	for _, want := range d.o.Digests {
		if want.Algorithm().Available() {
			return want
		}
	}
	return ""
}

// open opens the output, and reads what is there of it.
func (g *Getter) open(ctx context.Context, d *download, output string) error {
	at, err := find(output)
	if err != nil {
		return err
	}
	chosen := at.base != ""
	if !chosen {
		path := filepath.Join(at.dir, NameOf(d.url))
		if at, err = find(path); err != nil {
			return err
		}
		if at.base == "" {
			return failed(Local, "%s is a folder; give the file another name with -o", printable(path))
		}
	}
	if at.stream {
		if at.base == "-" {
			d.out = &stream{Writer: g.o.Stdout, label: "standard output"}
			return nil
		}
		d.out, err = openStream(ctx, at.base)
		return err
	}
	p, err := openPart(at, task(d.url, g.o.Filter, g.o.Range))
	if err != nil {
		return err
	}
	p.fixed, p.done = chosen, g.done
	d.out, d.content, d.offset, d.reached = p, p.notes.content, p.length, p.length
	if err := p.reread(ctx, d.sums); err != nil {
		p.keep()
		return err
	}
	return nil
}
