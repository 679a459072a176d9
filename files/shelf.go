package files

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shelf keeps answers on the disk, so that files can be served while their source
// is down after a restart, too. There is one for each URL and credentials, of which
// only a hash is written. The zero shelf keeps nothing.
type shelf struct{ dir string }

// record is an answer on the disk.
type record struct {
	Key         string        `json:"key"` // what it answers, the headers that it depends on included
	Header      http.Header   `json:"header"`
	Size        int64         `json:"size"`
	At          time.Time     `json:"at"`
	Age         time.Duration `json:"age"`
	Credentials bool          `json:"credentials,omitempty"`
}

// unfinished begins the names of files that are being written.
const unfinished = "new-"

// DirIn is the folder for [Config.Dir] below a folder of data; "" if there is none.
func DirIn(dataDir string) string {
	if dataDir == "" {
		return ""
	}
	return filepath.Join(dataDir, "files")
}

// openShelf makes the folder of a shelf, and throws away what is too much.
func openShelf(dir string) (shelf, error) {
	if dir == "" {
		return shelf{}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return shelf{}, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return shelf{}, err
	}
	type aged struct {
		name string
		at   time.Time
	}
	var all []aged
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
			continue
		}
		if info, err := e.Info(); err == nil {
			all = append(all, aged{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return b.at.Compare(a.at) })
	for _, a := range all[min(len(all), maxKnown):] {
		_ = os.Remove(filepath.Join(dir, a.name))
	}
	return shelf{dir}, nil
}

// put keeps an answer to a URL.
func (s shelf) put(url, key string, a *answer) error {
	if s.dir == "" {
		return nil
	}
	b, err := json.Marshal(record{Key: key, Header: a.header, Size: a.size, At: a.at, Age: a.age, Credentials: a.credentials})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, unfinished)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, url))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// get returns the answer to a URL, and what exactly it answers; nil if there is
// none.
func (s shelf) get(url string) (key string, a *answer) {
	if s.dir == "" {
		return "", nil
	}
	b, err := os.ReadFile(filepath.Join(s.dir, url))
	var r record
	if err != nil || json.Unmarshal(b, &r) != nil || r.Size < 0 || r.Age < 0 {
		return "", nil
	}
	a = read(r.Header, r.Size, r.Credentials, r.At)
	a.age = r.Age
	return r.Key, a
}

// remove takes the answer to a URL back.
func (s shelf) remove(url string) {
	if s.dir != "" {
		_ = os.Remove(filepath.Join(s.dir, url))
	}
}
