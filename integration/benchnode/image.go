package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const manifestType = ocispec.MediaTypeImageManifest

// image is a manifest of the usual size, and the small blobs that it lists.
type image struct {
	manifest []byte
	blobs    [][]byte
}

func newImage() (*image, error) {
	im := &image{}
	add := func(mediaType, data string) ocispec.Descriptor {
		im.blobs = append(im.blobs, []byte(data))
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(data), Size: int64(len(data))}
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType}
	m.Config = add(ocispec.MediaTypeImageConfig, `{"architecture":"amd64","os":"linux"}`)
	for i := range 8 {
		m.Layers = append(m.Layers, add(ocispec.MediaTypeImageLayerGzip, fmt.Sprintf("layer %d", i)))
	}
	var err error
	im.manifest, err = json.Marshal(m)
	return im, err
}

func (im *image) path() string {
	return "/v2/bench/manifests/" + digest.FromBytes(im.manifest).String()
}

// push puts the image into a registry, the blobs first, as a registry wants it.
func (im *image) push(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, blob := range im.blobs {
		at, err := beginUpload(ctx, host)
		if err != nil {
			return err
		}
		q := at.Query()
		q.Set("digest", digest.FromBytes(blob).String())
		at.RawQuery = q.Encode()
		if err := put(ctx, at.String(), "application/octet-stream", blob); err != nil {
			return err
		}
	}
	return put(ctx, "http://"+host+im.path(), manifestType, im.manifest)
}

func beginUpload(ctx context.Context, host string) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/v2/bench/blobs/uploads/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("POST %s: %s", req.URL, resp.Status)
	}
	return resp.Location()
}

func put(ctx context.Context, url, mediaType string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaType)
	_, err = do(req, http.StatusCreated)
	return err
}
