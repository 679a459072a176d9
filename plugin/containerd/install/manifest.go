package install

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
)

const (
	stateDir       = "/var/lib/shoal/install/containerd"
	manifestName   = "manifest.json"
	manifestFormat = 1
)

// manifest is what it takes to undo an installation. It holds what the files
// held, credentials included: nobody but its owner may read it.
type manifest struct {
	Format     int      `json:"format"`
	Mirror     string   `json:"mirror"`
	Registries []string `json:"registries"` // "" stands for all
	Restart    string   `json:"restart"`
	Files      []saved  `json:"files"`
	Dirs       []string `json:"dirs"` // that were made
}

// saved is a file, by its real path.
type saved struct {
	Path     string    `json:"path"`
	Existed  bool      `json:"existed"`
	Original []byte    `json:"original"`
	Versions []written `json:"versions"` // the latest first
}

// written is what was, or was going to be, put into a file.
type written struct {
	Text  []byte `json:"text"`
	Hunks []hunk `json:"hunks"`
}

func (m *manifest) file(path string) *saved {
	if m == nil {
		return nil
	}
	if i := slices.IndexFunc(m.Files, func(s saved) bool { return s.Path == path }); i >= 0 {
		return &m.Files[i]
	}
	return nil
}

// manifestPath is where the manifest lies, as the machine sees it.
func manifestPath(t *tree) (string, error) {
	return t.real(filepath.Join(stateDir, manifestName))
}

// loadManifest is nil if nothing is installed.
func loadManifest(t *tree) (*manifest, error) {
	path, err := manifestPath(t)
	if err != nil {
		return nil, err
	}
	data, ok, err := readFile(t.at(path))
	if err != nil || !ok {
		return nil, err
	}
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("manifest %s has format %d: uninstall with the version of shoal that installed", path, m.Format)
	}
	return m, nil
}

func (m *manifest) save(t *tree) error {
	path, err := manifestPath(t)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := t.makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	return writeFile(t.at(path), append(data, '\n'), 0o600)
}
