package doctor

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/shoal-p2p/shoal/resolver"
)

// clock is what another machine says the time is.
type clock struct {
	of              string
	says            time.Time // whole seconds; zero if it does not say
	asked, answered time.Time // by our own clock
}

// apart is how far our clock is ahead of the other, at least: the answer may have
// been made any time between asking and getting it.
func (c clock) apart() time.Duration {
	switch early, late := c.says.Sub(c.answered), c.says.Add(time.Second).Sub(c.asked); {
	case c.says.IsZero():
		return 0
	case early > 0:
		return -early
	case late < 0:
		return -late
	}
	return 0
}

// maxApart is what tokens and certificates bear.
const maxApart = 30 * time.Second

// checkClock compares the clock with those of other machines that were asked.
func (n *node) checkClock(ctx context.Context) answer {
	for _, registry := range n.registries() {
		if c, err := n.askRegistry(ctx, registry); err == nil {
			n.clocks = append(n.clocks, c)
		}
	}
	return judgeClocks(n.clocks)
}

func judgeClocks(all []clock) answer {
	var names []string
	for _, c := range all {
		if c.says.IsZero() {
			continue
		}
		names = append(names, c.of)
		d := c.apart()
		if d > -maxApart && d < maxApart {
			continue
		}
		word := "ahead of"
		if d < 0 {
			word, d = "behind", -d
		}
		return warn("this machine's clock is %v %s that of %s: tokens and certificates seem expired, or not valid yet", d.Round(time.Second), word, c.of).
			do("set the clock, on whichever of the two is wrong: timedatectl set-ntp true")
	}
	if len(names) == 0 {
		return skip("no other machine answered that it could be compared with; --registry HOST names one")
	}
	return fine("agrees with that of %s", strings.Join(names, ", "))
}

// registries are those that were named, and that of the probe.
func (n *node) registries() []string {
	all := n.Registries
	if r := n.imageRegistry(); r != "" {
		all = append(all[:len(all):len(all)], r)
	}
	return unique(all)
}

// imageRegistry is the registry of the probe, "" if there is none.
func (n *node) imageRegistry() string {
	named, err := reference.ParseDockerRef(n.Image)
	if n.Image == "" || err != nil {
		return ""
	}
	return reference.Domain(named)
}

func unique(all []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// askRegistry asks a registry for its clock. It sends no credentials, and trusts
// the answer with nothing else: any certificate will do, as a wrong clock makes
// good ones bad.
func (n *node) askRegistry(ctx context.Context, registry string) (clock, error) {
	scheme, host := "https://", registry
	if resolver.Canonical(registry) == resolver.DockerHub {
		host = "registry-1.docker.io"
	}
	for _, r := range n.Config.Registries {
		if resolver.Canonical(r.Host) == resolver.Canonical(registry) && r.PlainHTTP {
			scheme = "http://"
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	resp, c, err := get(ctx, &http.Client{Transport: transport}, scheme+host+"/v2/", registry)
	if err != nil {
		return c, err
	}
	return c, resp.Body.Close()
}
