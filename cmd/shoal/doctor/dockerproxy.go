package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/plugin/docker"
	"github.com/shoal-p2p/shoal/proxy/ca"
	"github.com/shoal-p2p/shoal/resolver"
)

// dockerProxy is the way that Docker's pulls go from registries other than Docker
// Hub.
type dockerProxy struct {
	says   docker.Daemon
	mirror mirrorOf // which is the proxy too
	cfg    *config.Config
	certs  string // dockerd's certs.d
	// ca is the certificate of the proxy, nil if it has none.
	ca *x509.Certificate
	// trusts are the registries where dockerd trusts the certificate of the
	// proxy.
	trusts []string
}

// checkDockerProxy looks how Docker's pulls from other registries go.
func (n *node) checkDockerProxy(context.Context) answer {
	if n.docker == nil || !n.docker.there() {
		return skip("there is no Docker here")
	}
	var named []string
	for _, r := range n.registries() {
		if r != resolver.DockerHub {
			named = append(named, r)
		}
	}
	p := dockerProxy{says: n.docker.holds(), mirror: n.dockerMirror(), cfg: n.Config, certs: filepath.Join(filepath.Dir(n.DockerConfig), "certs.d")}
	if n.Config.HijackCert != "" {
		ours, err := certificates(n.Config.HijackCert)
		if err != nil {
			return asRoot(warn("%s (proxy.hijack_https.cert): %s", n.Config.HijackCert, why(err)), err)
		}
		p.ca = ours[0]
		for _, r := range named {
			if trusted(ours, filepath.Join(p.certs, r)) {
				p.trusts = append(p.trusts, r)
			}
		}
	}
	return judgeDockerProxy(p, named)
}

// certificates are those of a PEM file.
func certificates(file string) (all []*x509.Certificate, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no certificate in %s", file)
	}
	return all, nil
}

// trusted reports whether dockerd trusts one of some certificates, by a folder of
// its certs.d or as one of the system's.
func trusted(ours []*x509.Certificate, dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.crt")) // the pattern is good
	for _, f := range files {
		theirs, err := certificates(f)
		if err == nil && slices.ContainsFunc(theirs, func(c *x509.Certificate) bool { return slices.ContainsFunc(ours, c.Equal) }) {
			return true
		}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return false
	}
	_, err = ours[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// judgeDockerProxy judges the way to registries other than Docker Hub, of which
// some were named.
func judgeDockerProxy(p dockerProxy, named []string) answer {
	const only = "dockerd asks registry-mirrors for Docker Hub alone, and all other registries itself"
	if len(named) == 0 {
		switch {
		case p.says.HTTPSProxy == "":
			return skip("it has none: %s. To pull from others through Shoal, make the agent its proxy", only).
				do("see what that takes for one: shoal doctor --registry HOST")
		case !p.mirror.is(p.says.HTTPSProxy):
			return warn("dockerd reaches registries other than Docker Hub through the proxy %s, past Shoal", p.says.HTTPSProxy).
				do("see what it takes to change that for one: shoal doctor --registry HOST")
		case len(p.cfg.HijackHosts) == 0:
			return warn("dockerd reaches registries other than Docker Hub through the agent, which looks into none of that: proxy.hijack_https.hosts is empty").
				do("see what that takes for one: shoal doctor --registry HOST")
		}
		return fine("dockerd reaches registries other than Docker Hub through the agent, which looks into what proxy.hijack_https.hosts names: see for one with --registry HOST")
	}
	var problems, fix []string
	for _, r := range named {
		if way := p.route(r, named); !way.through {
			problems = append(problems, r+": "+way.problem)
			fix = append(fix, way.fix...)
		}
	}
	if len(problems) == 0 {
		return fine("Docker's pulls from %s come through the agent, as dockerd's proxy", strings.Join(named, ", "))
	}
	a := warn("Docker's pulls bypass Shoal from %s. %s", strings.Join(problems, "; and from "), strings.ToUpper(only[:1])+only[1:])
	for _, f := range unique(fix) {
		a = a.do("%s", f)
	}
	return a
}

// route says whether pulls from a registry, one of those named, come through, why
// not, and all that it takes.
func (p dockerProxy) route(registry string, named []string) route {
	u := p.url(registry)
	if loopback(u.Hostname()) {
		return route{problem: "dockerd asks registries on loopback directly, whatever is set", fix: []string{"name it by another address of its machine"}}
	}
	set, opened, ruled := p.set(u), p.opened(u, named), p.ruled(u)
	r := route{fix: slices.Concat(opened.fix, ruled.fix, set.fix)}
	r.problem = cmp.Or(set.problem, opened.problem, ruled.problem)
	r.through = r.problem == ""
	return r
}

// url is where a registry answers.
func (p dockerProxy) url(registry string) *url.URL {
	u := &url.URL{Scheme: "https", Host: registry}
	if slices.ContainsFunc(p.cfg.Registries, func(r config.Registry) bool { return r.Host == registry && r.PlainHTTP }) {
		u.Scheme = "http"
	}
	return u
}

// lack is what a way lacks, and what to do about it; nothing if it is empty.
type lack struct {
	problem string
	fix     []string
}

// set is about dockerd's proxy.
func (p dockerProxy) set(u *url.URL) lack {
	install := []string{p.mirror.installDocker(" --proxy"), restartDocker}
	is := p.says.HTTPSProxy
	if u.Scheme == "http" {
		is = p.says.HTTPProxy
	}
	if is == "" {
		return lack{"dockerd has no proxy", install}
	}
	if !p.mirror.is(is) {
		return lack{"dockerd reaches it through the proxy " + is, append([]string{"give the agent that proxy, as HTTPS_PROXY in its environment, and restart it"}, install...)}
	}
	proxies := httpproxy.Config{HTTPProxy: is, HTTPSProxy: is, NoProxy: p.says.NoProxy}
	if through, err := proxies.ProxyFunc()(u); err == nil && through == nil {
		return lack{
			fmt.Sprintf("dockerd reaches it without its proxy, as no-proxy says (%s)", p.says.NoProxy),
			[]string{"take it out of no-proxy, or NO_PROXY, where dockerd's proxy is set", restartDocker},
		}
	}
	return lack{}
}

// opened is about what the proxy looks into.
func (p dockerProxy) opened(u *url.URL, named []string) (l lack) {
	if u.Scheme == "http" {
		return lack{}
	}
	lacks := func(problem string, fix ...string) { l = lack{cmp.Or(l.problem, problem), append(l.fix, fix...)} }
	cert := p.cfg.HijackCert
	if cert == "" {
		cert = "/etc/shoal/ca.crt"
		lacks("the agent's proxy looks into no HTTPS",
			"shoal gen-ca --out /etc/shoal",
			"set in the agent's configuration: proxy.hijack_https.cert: "+cert+" and proxy.hijack_https.key: /etc/shoal/ca.key")
	}
	barred := p.barred(u)
	if barred != nil {
		dir := filepath.Join(filepath.Dir(cert), "new")
		cert = filepath.Join(dir, ca.CertFile)
		lacks(fmt.Sprintf("the agent's proxy tunnels it, as the certificate %s is not for it (%v)", p.cfg.HijackCert, barred),
			"shoal gen-ca --out "+dir+p.constraints(named),
			"set in the agent's configuration: proxy.hijack_https.cert: "+cert+" and proxy.hijack_https.key: "+filepath.Join(dir, ca.KeyFile)+
				"; make all who use the proxy trust it, and restart the agent")
	}
	at := u.Host
	if u.Port() == "" {
		at += ":443"
	}
	if !slices.ContainsFunc(p.cfg.HijackHosts, func(h config.HijackHost) bool { return h.Regex.MatchString(at) }) {
		lacks("the agent's proxy does not look into it, as proxy.hijack_https.hosts does not name it",
			"add to proxy.hijack_https.hosts in the agent's configuration, and restart the agent: - regex: '^"+regexp.QuoteMeta(at)+"$'")
	}
	if barred != nil || !slices.Contains(p.trusts, u.Host) {
		lacks("dockerd does not trust "+cert, fmt.Sprintf("install -D -m 644 %s %s", cert, filepath.Join(p.certs, u.Host, "ca.crt")))
	}
	return l
}

// barred is why the proxy's certificate is not for a registry, nil if it is.
func (p dockerProxy) barred(u *url.URL) error {
	if p.ca == nil || u.Scheme == "http" {
		return nil
	}
	return ca.Permits(p.ca, strings.ToLower(u.Hostname()))
}

// constraints are the flags of gen-ca for a CA that may do what the proxy's may,
// and vouch for those named.
func (p dockerProxy) constraints(named []string) (flags string) {
	all := ca.Constraints(p.ca)
	if len(all) == 0 { // it has no constraints, so another needs none
		return ""
	}
	for _, r := range named {
		if u := p.url(r); p.barred(u) != nil {
			all = append(all, strings.ToLower(u.Hostname()))
		}
	}
	for _, c := range unique(all) {
		flags += " --name-constraint " + c
	}
	return flags
}

// ruled is about the rules of the proxy.
func (p dockerProxy) ruled(u *url.URL) lack {
	add := "- regex: '^" + regexp.QuoteMeta(u.String()) + "/'"
	blob := u.String() + "/v2/name/blobs/sha256:" + strings.Repeat("0", 64)
	i := slices.IndexFunc(p.cfg.ProxyRules, func(r config.ProxyRule) bool { return r.Regex.MatchString(blob) })
	switch {
	case i < 0:
		return lack{"no rule of proxy.rules names it", []string{"add to proxy.rules in the agent's configuration, and restart the agent: " + add}}
	case p.cfg.ProxyRules[i].Direct:
		return lack{
			fmt.Sprintf("the rule %q of proxy.rules keeps it out of the swarm", p.cfg.ProxyRules[i].Regex),
			[]string{"put another before it in the agent's configuration, and restart the agent: " + add},
		}
	}
	return lack{}
}
