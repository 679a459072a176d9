package mirror

import (
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/shoal-p2p/shoal/resolver"
)

// grant is a credential's right to read a repository, by hash. No credential is
// a credential too.
type grant [sha256.Size]byte

func grantOf(repo resolver.Repository) grant {
	return sha256.Sum256([]byte(repo.Registry + "\x00" + repo.Name + "\x00" + repo.Authorization))
}

// grants remember when the upstream last said yes to whom. What is kept here is
// only ever served to them:
//
//	said yes                             a kept manifest is served
//	less than grantFor ago               at once
//	less than StaleFor ago, now ill      marked stale
//	otherwise                            if the upstream says yes again
type grants struct {
	given *lru.Cache[grant, time.Time]
}

// grantFor is how long the upstream's yes is believed without asking again.
const grantFor = 5 * time.Minute

func newGrants(size int) grants { return grants{cache[grant, time.Time](size)} }

func (g grants) give(repo resolver.Repository, now time.Time) { g.given.Add(grantOf(repo), now) }

// within reports whether the upstream said yes less than age ago.
func (g grants) within(repo resolver.Repository, age time.Duration, now time.Time) bool {
	at, ok := g.given.Get(grantOf(repo))
	return ok && now.Sub(at) < age
}
