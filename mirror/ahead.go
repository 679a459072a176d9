package mirror

import (
	"encoding/json"
	"net/http"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/internal/delivery"
	"github.com/shoal-p2p/shoal/p2p"
)

const (
	// aheadOf is how many layers are begun before the client asks for them. At
	// the end of a layer few pieces are left to trade; the next one must be open
	// by then, on every node of the swarm.
	aheadOf = 2
	// keptLayers bounds the layers whose followers are known: some 300 bytes
	// each.
	keptLayers = 4096
)

// ahead begins the layers of an image that the client will ask for next. That it
// asks for one shows that it pulls the image; to look at a manifest is not enough.
type ahead struct {
	node      *p2p.Node
	followers *lru.Cache[digest.Digest, []digest.Digest] // by layer
}

func newAhead(node *p2p.Node) *ahead {
	return &ahead{node: node, followers: cache[digest.Digest, []digest.Digest](keptLayers)}
}

// learn takes the order of the layers from a manifest that a client gets.
func (a *ahead) learn(r *http.Request, mediaType string, body []byte) {
	if r.Method != http.MethodGet || !strings.Contains(mediaType, "manifest.v") {
		return
	}
	var m ocispec.Manifest
	if json.Unmarshal(body, &m) != nil {
		return
	}
	var layers []digest.Digest
	for _, l := range m.Layers[:min(len(m.Layers), keptLayers/16)] {
		if l.Digest.Validate() == nil && len(l.URLs) == 0 && !strings.Contains(l.MediaType, "foreign") {
			layers = append(layers, l.Digest)
		}
	}
	for i, l := range layers {
		a.followers.Add(l, layers[i+1:min(len(layers), i+1+aheadOf)])
	}
}

// begin begins the layers that follow one that a client reads from its start. Who
// reads only parts may never want the others.
func (a *ahead) begin(layer digest.Digest, s delivery.Span, source func(digest.Digest) p2p.Source) {
	followers, ok := a.followers.Get(layer)
	if !ok || s.Offset > 0 {
		return
	}
	for _, f := range followers {
		a.node.Begin(f, source(f))
	}
}
