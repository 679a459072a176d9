package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

const repository = "bench/image"

// push puts an image of random layers into the cluster's registry.
func push(ctx context.Context, c *testbed.Cluster, s scenario) error {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for k := range s.Layers {
		data := make([]byte, s.Bytes/int64(s.Layers))
		key := sha256.Sum256(fmt.Append(nil, s.Bytes, s.Layers, k))
		if _, err := io.ReadFull(rand.NewChaCha8(key), data); err != nil {
			return err
		}
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer(data, types.OCIUncompressedLayer)); err != nil {
			return err
		}
	}
	ref, err := name.ParseReference(testbed.Registry+"/"+repository+":latest", name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithTransport(c.Upstream.Transport()), remote.WithContext(ctx))
}

// from is where a node pulls from.
type from struct {
	host  string // "" is the node's own mirror
	query string
}

var (
	mirror   = from{query: "?ns=" + testbed.Registry}
	registry = from{host: testbed.Registry}
	cache    = from{host: testbed.Cache}
)

func (f from) get(ctx context.Context, n *testbed.Node, path string) (io.ReadCloser, error) {
	path = "/v2/" + repository + path + f.query
	header := http.Header{"Accept": {string(types.OCIManifestSchema1)}}
	var resp *http.Response
	var err error
	if f.host == "" {
		resp, err = n.Ask(ctx, http.MethodGet, path, header)
	} else {
		resp, err = n.AskHost(ctx, http.MethodGet, f.host, path, header)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: GET %s answers %s", n.Name, path, resp.Status)
	}
	return resp.Body, nil
}

// pull pulls the image as containerd does: the manifest, then its layers in
// order, some at a time. It returns how long that took.
func pull(ctx context.Context, n *testbed.Node, f from, s scenario) (time.Duration, error) {
	start := time.Now()
	body, err := f.get(ctx, n, "/manifests/latest")
	if err != nil {
		return 0, err
	}
	var m v1.Manifest
	err = errors.Join(json.NewDecoder(body).Decode(&m), body.Close())
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(m.Layers))
	slots := make(chan struct{}, s.Parallel)
	for i, l := range m.Layers {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = pullLayer(ctx, n, f, l, s.Rate > 0)
			<-slots
		})
	}
	wg.Wait()
	return time.Since(start), errors.Join(errs...)
}

// pullLayer reads a layer to its end. Without shaping the processor is what is
// measured, and the client does not hash.
func pullLayer(ctx context.Context, n *testbed.Node, f from, l v1.Descriptor, verify bool) error {
	body, err := f.get(ctx, n, "/blobs/"+l.Digest.String())
	if err != nil {
		return err
	}
	defer body.Close()
	var h hash.Hash
	w := io.Discard
	if verify {
		h = sha256.New()
		w = h
	}
	size, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, make([]byte, 64<<10))
	switch {
	case err != nil:
		return fmt.Errorf("%s: layer %s breaks off after %d bytes: %w", n.Name, l.Digest, size, err)
	case size != l.Size:
		return fmt.Errorf("%s: layer %s has %d bytes, not %d", n.Name, l.Digest, size, l.Size)
	case verify && fmt.Sprintf("%x", h.Sum(nil)) != l.Digest.Hex:
		return fmt.Errorf("%s: layer %s has wrong bytes", n.Name, l.Digest)
	}
	return nil
}
