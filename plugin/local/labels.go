package local

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// labels keeps each blob's labels in a small JSON file, for users of
// [Store.Content]: containerd's own code marks what it holds with them.
type labels struct {
	dir string
	mu  sync.Mutex // an update reads and writes
}

func (l *labels) path(dgst digest.Digest) (string, error) {
	if err := piece.ValidateID(dgst); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, dgst.Algorithm().String(), dgst.Encoded()), nil
}

// Get returns nil for a blob without labels.
func (l *labels) Get(dgst digest.Digest) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(dgst)
}

// Set replaces all labels.
func (l *labels) Set(dgst digest.Digest, values map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(dgst, values)
}

// Update sets the labels given; an empty value removes one.
func (l *labels) Update(dgst digest.Digest, values map[string]string) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, err := l.read(dgst)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, values)
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all, l.write(dgst, all)
}

func (l *labels) read(dgst digest.Digest) (map[string]string, error) {
	path, err := l.path(dgst)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var values map[string]string
	return values, json.Unmarshal(b, &values)
}

func (l *labels) write(dgst digest.Digest, values map[string]string) error {
	path, err := l.path(dgst)
	if err != nil {
		return err
	}
	if len(values) == 0 {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
