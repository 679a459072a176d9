package files

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// maxKnown bounds the answers that are remembered: some kilobytes each.
const maxKnown = 4096

// known is what sources have said.
type known struct {
	mu      sync.Mutex
	vary    *lru.Cache[string, []string] // by URL and credentials
	answers *lru.Cache[string, *answer]  // by those, and the headers that name content
}

func newKnown() *known {
	return &known{vary: cache[[]string](), answers: cache[*answer]()}
}

func cache[V any]() *lru.Cache[string, V] {
	c, err := lru.New[string, V](maxKnown)
	if err != nil {
		panic(err) // only of a size that is not positive
	}
	return c
}

// get returns what was said to such a request; nil if nothing was.
func (k *known) get(q *request) *answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	url := q.key()
	vary, _ := k.vary.Get(url)
	a, _ := k.answers.Get(q.keyWith(url, vary))
	return a
}

// put remembers what was said to a request.
func (k *known) put(q *request, a *answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	url := q.key()
	k.vary.Add(url, a.vary)
	k.answers.Add(q.keyWith(url, a.vary), a)
}

// forget takes back what was said to a request.
func (k *known) forget(q *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	url := q.key()
	vary, _ := k.vary.Get(url)
	k.answers.Remove(q.keyWith(url, vary))
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
