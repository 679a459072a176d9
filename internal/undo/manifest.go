package undo

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
)

const (
	stateDir       = "/var/lib/shoal/install"
	manifestName   = "manifest.json"
	manifestFormat = 2
)

// manifest is what it takes to undo an installation. It holds what the files
// held, credentials included: nobody but its owner may read it.
type manifest struct {
	Format  int      `json:"format"`
	Mirror  string   `json:"mirror"`
	Parts   []string `json:"parts"`
	Restart string   `json:"restart,omitempty"`
	Files   []saved  `json:"files"`
	Dirs    []string `json:"dirs"` // that were made
}

// saved is a file, by its real path.
type saved struct {
	Path     string    `json:"path"`
	Existed  bool      `json:"existed"`
	Original []byte    `json:"original"`
	Versions []Written `json:"versions"` // the latest first
}

// Written is what was, or was going to be, put into a file.
type Written struct {
	Text  []byte `json:"text"`
	Hunks []Hunk `json:"hunks,omitempty"`
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
func manifestPath(t *Tree, s Subject) (string, error) {
	return t.Real(filepath.Join(stateDir, s.Name, manifestName))
}

// loadManifest is nil if nothing is installed.
func loadManifest(t *Tree, s Subject) (*manifest, error) {
	path, err := manifestPath(t, s)
	if err != nil {
		return nil, err
	}
	data, ok, err := readFile(t.At(path))
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

func (m *manifest) save(t *Tree, s Subject) error {
	path, err := manifestPath(t, s)
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
	return writeFile(t.At(path), append(data, '\n'), 0o600)
}
