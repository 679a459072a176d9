package files

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"

	"github.com/shoal-p2p/shoal/resolver"
)

// answer is what a source last said about a file.
type answer struct {
	header  http.Header // what of it goes to clients
	version resolver.Version
	size    int64 // in bytes; -1 if the source does not say
	at      time.Time
	age     time.Duration // that it had then

	credentials bool // the request had some

	rules  cacheobject.ResponseCacheDirectives
	shared bool     // may go to others than who asked
	secret bool     // of these, only to those with the same credentials
	vary   []string // request headers that name content
	fresh  time.Duration
}

// read understands an answer of size bytes to a request that had credentials or
// not.
func read(h http.Header, size int64, credentials bool, now time.Time) *answer {
	a := &answer{header: forClient(h), version: resolver.VersionOf(h), size: size, at: now, age: ageOf(h), credentials: credentials}
	rules, err := cacheobject.ParseResponseCacheControl(strings.Join(h.Values("Cache-Control"), ", "))
	if err != nil { // what cannot be understood is for one client
		a.rules.NoStore, a.rules.StaleIfError = true, -1
		return a
	}
	a.rules = *rules
	names, every := varyOf(h)
	a.vary, a.fresh = names, lifetime(h, rules, now)
	// RFC 9111, section 3.5: what makes an answer to credentials one for all.
	public := rules.Public || rules.SMaxAge >= 0
	a.secret = credentials && (!public || rules.PrivatePresent)
	a.shared = !rules.NoStore && !every && sizeOf(a.header) <= maxAnswer && len(h.Values("Set-Cookie")) == 0 && (!rules.PrivatePresent || a.secret)
	return a
}

// maxAnswer bounds the headers of an answer that is remembered, in bytes.
const maxAnswer = 16 << 10

func sizeOf(h http.Header) (bytes int) {
	for name, values := range h {
		for _, v := range values {
			bytes += len(name) + len(v)
		}
	}
	return bytes
}

// swarmable reports whether the file can go through the swarm.
func (a *answer) swarmable() bool {
	return a.shared && a.size >= 0 && a.version.Name() != ""
}

// ageOf is how old an answer was when it came.
func ageOf(h http.Header) time.Duration {
	s, err := strconv.ParseUint(h.Get("Age"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// lifetime is how long an answer is fresh (RFC 9111, section 4.2.1). Nothing is
// guessed where the source does not say.
func lifetime(h http.Header, rules *cacheobject.ResponseCacheDirectives, now time.Time) time.Duration {
	switch {
	case rules.SMaxAge >= 0:
		return time.Duration(rules.SMaxAge) * time.Second
	case rules.MaxAge >= 0:
		return time.Duration(rules.MaxAge) * time.Second
	}
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = now
	}
	return max(0, expires.Sub(date))
}

// varyOf are the request headers that an answer depends on; every says that no
// other request gets the same.
func varyOf(h http.Header) (names []string, every bool) {
	for _, v := range h.Values("Vary") {
		for name := range strings.SplitSeq(v, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "":
			case "*":
				every = true
			default:
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), every
}

// ageAt is how old the answer is.
func (a *answer) ageAt(now time.Time) time.Duration { return a.age + max(0, now.Sub(a.at)) }

// isFresh reports whether the answer stands without asking the source.
func (a *answer) isFresh(now time.Time) bool {
	return !a.rules.NoCachePresent && a.ageAt(now) < a.fresh
}

// mayBeStale reports whether the answer may stand while the source cannot be asked,
// limit after it was last right (RFC 5861, section 4).
func (a *answer) mayBeStale(now time.Time, limit time.Duration) bool {
	if a.rules.MustRevalidate || a.rules.ProxyRevalidate || a.rules.NoCachePresent {
		return false
	}
	if a.rules.StaleIfError >= 0 {
		limit = time.Duration(a.rules.StaleIfError) * time.Second
	}
	return a.ageAt(now) < a.fresh+limit
}

// notForClient are headers of an answer that are the connection's, or that we set.
var notForClient = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Content-Length", "Content-Range", "Accept-Ranges", "Age", "Warning", "Alt-Svc",
}

// forClient is what a client hears of an answer's headers.
func forClient(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		if !slices.Contains(notForClient, name) {
			out[name] = values
		}
	}
	return out
}
