package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/internal/imagepull"
	"github.com/shoal-p2p/shoal/plugin/containerd"
)

// probe is what was seen of a pull.
type probe struct {
	image   string
	through string // whose pull it was
	// fetched is what of the layers had to come, held what was there already.
	fetched, held int64
	// mirror and past are the bytes of blobs that the client got from the
	// mirror, and from others.
	mirror, past int64
	others       []string
	// refused is what went wrong at a host, mirrorRefused at the mirror.
	refused       map[string]string
	mirrorRefused string
	// counted is by how much the agent's counters grew, by source.
	counted map[string]int64
}

// checkProbe pulls an image and looks where its bytes came from.
func (n *node) checkProbe(ctx context.Context) answer {
	if n.Image == "" {
		return skip("no image was named: --probe IMAGE pulls one, and proves where its bytes come from")
	}
	before, _, err := ask(ctx, dialable(n.Config.AdminListen))
	if err != nil {
		return fail("the agent does not answer any more: %s", why(err))
	}
	var p probe
	if n.pullsWithContainerd {
		p.through, err = "containerd", n.tryContainerd(ctx, &p)
	} else {
		p.through, err = "the mirror", n.tryMirror(ctx, &p)
	}
	if err != nil {
		return judgeFailedProbe(p, err, ctx.Err() != nil, n.ProbePatience)
	}
	after, _, err := ask(ctx, dialable(n.Config.AdminListen))
	if err != nil {
		return fail("the agent does not answer any more: %s", why(err))
	}
	p.counted = map[string]int64{}
	for source, bytes := range after.Node.Bytes {
		p.counted[source] = bytes - before.Node.Bytes[source]
	}
	return judgeProbe(p)
}

func (n *node) tryContainerd(ctx context.Context, p *probe) error {
	t, err := n.store.Try(ctx, n.Image, containerd.TrialOptions{Credentials: n.Credentials, HostDir: func(registry string) (string, error) {
		h, err := n.reading.Of(registry)
		if err != nil || h.Dir == "" || h.Ignored != "" {
			return "", err
		}
		return n.reading.Dir(h)
	}})
	p.image, p.fetched, p.held = t.Image, t.Fetched, t.Held
	p.refused = map[string]string{}
	local := addresses()
	for host, reason := range t.Refused {
		p.refused[host] = plain(reason)
		if isMirror(host, n.Config.MirrorListen, local) {
			p.mirrorRefused = plain(reason)
		}
	}
	for host, bytes := range t.From {
		if isMirror(host, n.Config.MirrorListen, local) {
			p.mirror += bytes
		} else {
			p.past += bytes
			p.others = append(p.others, host)
		}
	}
	return err
}

// tryMirror pulls as a client of the mirror: nothing else is asked.
func (n *node) tryMirror(ctx context.Context, p *probe) error {
	p.image = n.Image
	named, err := reference.ParseDockerRef(n.Image)
	if err != nil {
		return err
	}
	p.image = named.String()
	image, err := imagepull.Pull(ctx, named, imagepull.Options{
		Mirror: dialable(n.Config.MirrorListen), Credentials: n.Credentials, Progress: func(ocispec.Descriptor, int64) {},
	})
	p.fetched, p.mirror = image.Size, image.Size
	return err
}

func judgeFailedProbe(p probe, err error, late bool, patience time.Duration) answer {
	a := fail("%s could not be pulled: %s", p.image, why(err))
	if late {
		a = fail("%s was not pulled within %v", p.image, patience).do("give it more time: --timeout %v", 4*patience)
	}
	for _, h := range slices.Sorted(maps.Keys(p.refused)) {
		a.detail += fmt.Sprintf("; %s said: %s", h, p.refused[h])
	}
	return a.do("see what the agent's log says of it, and whether the image exists and may be read by you")
}

// judgeProbe says what the bytes of a pull that went well prove.
func judgeProbe(p probe) answer {
	grown := int64(0)
	for _, bytes := range p.counted {
		grown += bytes
	}
	const another = "probe an image that is not here yet: shoal doctor --probe ANOTHER_IMAGE"
	from := p.sources()
	switch {
	case p.past > 0:
		a := fail("%s of %s came past Shoal, from %s", size(p.past), p.image, strings.Join(p.others, " and "))
		if p.mirror > 0 {
			a.detail += fmt.Sprintf("; %s came through the mirror", size(p.mirror))
		}
		if p.mirrorRefused != "" {
			a = a.do("the mirror said: %s", p.mirrorRefused)
		}
		return a.do("see what the agent's log says of this image")
	case grown == 0 && p.fetched == 0 && p.mirror == 0:
		return warn("nothing of %s had to be pulled: %s has its %s already", p.image, p.through, size(p.held)).do(another)
	case grown == 0 && p.mirror > 0:
		return warn("%s of %s came from the mirror, which still had them in memory: none of the agent's counters moved", size(p.mirror), p.image).do(another)
	case grown == 0:
		return fail("%s was pulled, but not a byte of it came through Shoal: none of the agent's counters moved", p.image).
			do("see what the agent's log says of this image")
	case p.fetched == 0:
		return warn("%s has all layers of %s already, so that nothing had to be pulled; of one, %s were read through the mirror (%s)",
			p.through, p.image, size(p.mirror), from).do(another)
	case onlyStore(p.counted):
		return warn("%s of %s came through Shoal, out of the agent's own store: it was here already", size(p.counted["store"]), p.image).do(another)
	}
	return fine("%s of %s came through Shoal: %s", size(max(p.mirror, p.fetched)), p.image, from)
}

func onlyStore(counted map[string]int64) bool {
	return counted["upstream"]+counted["supernode"]+counted["peer"] == 0
}

// sources says how much came from where.
func (p probe) sources() string {
	var parts []string
	for _, s := range []struct{ source, words string }{
		{"peer", "from peers"},
		{"supernode", "from the supernode"},
		{"upstream", "from the upstream"},
		{"store", "from the agent's store"},
	} {
		if n := p.counted[s.source]; n > 0 {
			parts = append(parts, size(n)+" "+s.words)
		}
	}
	return strings.Join(parts, ", ")
}
