package registrytest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bytes makes n bytes that do not compress, the same for the same seed.
func Bytes(seed uint64, n int) []byte {
	data := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = src.Read(data)
	return data
}

// PushBlob puts a blob into a repository, named by its SHA-256 or another
// algorithm.
func (r *Registry) PushBlob(repo string, data []byte, alg ...digest.Algorithm) digest.Digest {
	r.tb.Helper()
	dgst := digestOf(data, alg)
	r.push(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+url.QueryEscape(dgst.String()), "application/octet-stream", data)
	return dgst
}

// PushManifest puts a manifest into a repository. A ref of "" means its digest.
func (r *Registry) PushManifest(repo, ref, mediaType string, body []byte, alg ...digest.Algorithm) digest.Digest {
	r.tb.Helper()
	dgst := digestOf(body, alg)
	if ref == "" {
		ref = dgst.String()
	}
	r.push(http.MethodPut, "/v2/"+repo+"/manifests/"+ref, mediaType, body)
	return dgst
}

// PushImage puts an image with these layers into a repository. A tag of ""
// means none. Options change the manifest before it goes.
func (r *Registry) PushImage(repo, tag string, layers [][]byte, options ...func(*ocispec.Manifest)) (dgst digest.Digest, manifest []byte) {
	r.tb.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	conf := []byte(`{"architecture":"amd64","os":"linux"}`)
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: r.PushBlob(repo, conf), Size: int64(len(conf))}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: r.PushBlob(repo, l), Size: int64(len(l))})
	}
	for _, o := range options {
		o(&m)
	}
	body, err := json.Marshal(m)
	if err != nil {
		r.tb.Fatal(err)
	}
	return r.PushManifest(repo, tag, ocispec.MediaTypeImageManifest, body), body
}

// Refers makes an image one that refers to another manifest.
func Refers(to digest.Digest, size int, artifactType string) func(*ocispec.Manifest) {
	return func(m *ocispec.Manifest) {
		m.ArtifactType = artifactType
		m.Subject = &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: to, Size: int64(size)}
	}
}

func digestOf(data []byte, alg []digest.Algorithm) digest.Digest {
	if len(alg) > 0 {
		return alg[0].FromBytes(data)
	}
	return digest.FromBytes(data)
}

func (r *Registry) push(method, target, mediaType string, body []byte) {
	r.tb.Helper()
	q := httptest.NewRequest(method, target, bytes.NewReader(body))
	q.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	r.real.ServeHTTP(w, q)
	if w.Code != http.StatusCreated {
		r.tb.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
}
