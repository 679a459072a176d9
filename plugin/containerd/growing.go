package containerd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/plugin/contentdir"
)

// lookEvery bounds how often the ingest directory is listed.
const lookEvery = 50 * time.Millisecond

// growing finds the files that containerd is receiving blobs into.
type growing struct {
	root string

	mu     sync.Mutex
	looked time.Time
	blobs  map[string]digest.Digest // by name of the ingest's directory
}

// open opens the growing file of a blob, the longest if there are several (one
// per namespace); nil if there is none.
func (g *growing) open(dgst digest.Digest, now time.Time) *os.File {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.looked) >= lookEvery {
		g.looked = now
		g.look()
	}
	var best *os.File
	var length int64 = -1
	for name, d := range g.blobs {
		if d != dgst {
			continue
		}
		f, err := os.Open(filepath.Join(g.root, "ingest", name, "data"))
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err != nil || info.Size() <= length {
			_ = f.Close()
			continue
		}
		if best != nil {
			_ = best.Close()
		}
		best, length = f, info.Size()
	}
	return best
}

// look lists the ingest directory. A directory's name is the hash of its
// reference, so what was read once stays right.
func (g *growing) look() {
	entries, err := os.ReadDir(filepath.Join(g.root, "ingest"))
	if err != nil {
		g.blobs = nil // not there yet, or not readable: Open says so
		return
	}
	there := make(map[string]struct{}, len(entries))
	for _, e := range entries {
		there[e.Name()] = struct{}{}
		if _, ok := g.blobs[e.Name()]; ok {
			continue
		}
		ref, ok := contentdir.ReadRef(filepath.Join(g.root, "ingest", e.Name()))
		if !ok {
			continue // being made just now
		}
		if g.blobs == nil {
			g.blobs = map[string]digest.Digest{}
		}
		g.blobs[e.Name()] = digestOf(ref)
	}
	maps.DeleteFunc(g.blobs, func(name string, _ digest.Digest) bool {
		_, ok := there[name]
		return !ok
	})
}

// digestOf returns the digest that a reference of remotes.MakeRefKey ends in:
// layer-sha256:…, or layer-<name>@sha256:… where the descriptor has a name. ""
// means that it is another kind of reference.
func digestOf(ref string) digest.Digest {
	dgst := digest.Digest(ref[strings.LastIndexAny(ref, "-@/")+1:])
	if dgst.Validate() != nil {
		return ""
	}
	return dgst
}
