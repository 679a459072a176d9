package oci

import "encoding/json"

// MaxManifest bounds manifests and lists in bytes. The distribution spec asks
// registries to take at least 4 MiB.
const MaxManifest = 16 << 20

// Media types that a manifest can be told to have from its fields.
const (
	IndexType    = "application/vnd.oci.image.index.v1+json"
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
)

// MediaType finds the media type of a manifest from its bytes: the mediaType
// field, else what its other fields say; "application/octet-stream" if nothing
// does.
func MediaType(body []byte) string {
	var m struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
		Config    json.RawMessage `json:"config"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return "application/octet-stream"
	case m.MediaType != "" && len(m.MediaType) < 256 && printable(m.MediaType):
		return m.MediaType
	case m.Manifests != nil:
		return IndexType
	case m.Layers != nil || m.Config != nil:
		return ManifestType
	case m.FSLayers != nil:
		return "application/vnd.docker.distribution.manifest.v1+prettyjws"
	}
	return "application/octet-stream"
}

// printable reports whether s can stand in a header.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// EmptyIndex is the body of an index without manifests.
func EmptyIndex() []byte {
	return []byte(`{"schemaVersion":2,"mediaType":"` + IndexType + `","manifests":[]}`)
}

// FilterReferrers keeps the manifests of an index that have the artifact type.
// Everything else stays as it is.
func FilterReferrers(index []byte, artifactType string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(index, &all); err != nil {
		return nil, err
	}
	var manifests []json.RawMessage
	if err := json.Unmarshal(all["manifests"], &manifests); err != nil {
		return nil, err
	}
	kept := []json.RawMessage{}
	for _, raw := range manifests {
		var m struct {
			ArtifactType string `json:"artifactType"`
		}
		if json.Unmarshal(raw, &m) == nil && m.ArtifactType == artifactType {
			kept = append(kept, raw)
		}
	}
	var err error
	if all["manifests"], err = json.Marshal(kept); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}
