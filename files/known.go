package files

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// maxKnown bounds the answers that are remembered, of up to 16 KiB each.
const maxKnown = 4096

// known is what sources have said.
type known struct {
	shelf shelf

	mu      sync.Mutex
	vary    *lru.Cache[string, []string] // by URL and credentials
	answers *lru.Cache[string, *answer]  // by those, and the headers that name content
}

func newKnown(s shelf) *known {
	k := &known{shelf: s, answers: cache[*answer](nil)}
	k.vary = cache(func(url string, _ []string) { s.remove(url) })
	return k
}

func cache[V any](evicted func(string, V)) *lru.Cache[string, V] {
	c, err := lru.NewWithEvict(maxKnown, evicted)
	if err != nil {
		panic(err) // only of a size that is not positive
	}
	return c
}

// get returns what was said to such a request; nil if nothing was.
func (k *known) get(q *request) *answer {
	url := q.key()
	a, ok := k.remembered(q, url)
	if ok {
		return a
	}
	key, a := k.shelf.get(url)
	if a == nil {
		return nil
	}
	k.remember(url, key, a)
	a, _ = k.remembered(q, url)
	return a
}

// remembered is what memory has; ok is false if it has nothing of the URL.
func (k *known) remembered(q *request, url string) (a *answer, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	vary, ok := k.vary.Get(url)
	if ok {
		a, _ = k.answers.Get(q.keyWith(url, vary))
	}
	return a, ok
}

func (k *known) remember(url, key string, a *answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.vary.Add(url, a.vary)
	k.answers.Add(key, a)
}

// put remembers what was said to a request. An error is of the disk; it is
// remembered all the same.
func (k *known) put(q *request, a *answer) error {
	url := q.key()
	key := q.keyWith(url, a.vary)
	k.remember(url, key, a)
	return k.shelf.put(url, key, a)
}

// forget takes back what was said to a request.
func (k *known) forget(q *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.vary.Remove(q.key())
}

// key names a URL with somebody's credentials.
func (q *request) key() string {
	return piece.FileID(contentURL(q.url.String(), q.filter), credentials(q.header)).Encoded()
}

func (q *request) keyWith(url string, vary []string) string {
	names := []string{url}
	for _, h := range vary {
		names = append(names, h)
		names = append(names, q.header.Values(h)...)
	}
	return piece.FileID(names...).Encoded()
}
