package contentdir

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// Ingest is a blob that is being received, or was when its writer stopped.
type Ingest struct {
	Dir  string      // absolute, or as root was
	Ref  string      // "" if it cannot be told
	Data fs.FileInfo // nil if there is no data file
}

// Ingests lists what lies in root's ingest directory.
func Ingests(root string) ([]Ingest, error) {
	entries, err := readDir(filepath.Join(root, "ingest"))
	if err != nil {
		return nil, err
	}
	all := make([]Ingest, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		in := Ingest{Dir: filepath.Join(root, "ingest", e.Name())}
		in.Ref, _ = ReadRef(in.Dir)
		if info, err := os.Stat(filepath.Join(in.Dir, "data")); err == nil {
			in.Data = info
		}
		all = append(all, in)
	}
	return all, nil
}

// ReadRef returns the reference of the ingest in dir. It is not ok while it has
// not been written in full.
func ReadRef(dir string) (ref string, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, "ref"))
	if err != nil || digest.SHA256.FromBytes(b).Encoded() != filepath.Base(dir) {
		return "", false
	}
	return string(b), true
}
