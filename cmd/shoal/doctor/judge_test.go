package doctor

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/containerd/install"
	"github.com/shoal-p2p/shoal/plugin/docker"
	"github.com/shoal-p2p/shoal/proxy/ca"
)

// is requires a status, and words in what is said or to be done.
func is(t *testing.T, a answer, status Status, words ...string) {
	t.Helper()
	r := Result{Detail: a.detail, Fix: ""}
	for _, f := range a.fix {
		r.Fix += f + "\n"
	}
	require.Equal(t, status, a.status, "%+v", r)
	for _, w := range words {
		require.Contains(t, r.Detail+"\n"+r.Fix, w)
	}
	if status == Failure {
		require.NotEmpty(t, a.fix, "a failure names its fix: %s", a.detail)
	}
}

func process(role, version string) *Process {
	p := &Process{Role: role, Mirror: "127.0.0.1:65001"}
	p.Version.Version = version
	p.Store.Kind = "local"
	p.Node = p2p.Status{ID: "me"}
	return p
}

func (p *Process) follows(addr string, connected bool) *Process {
	p.Node.Supernode = &p2p.SupernodeStatus{Address: addr, Connected: connected}
	return p
}

func defaults() *config.Config {
	return &config.Config{
		AdminListen: "127.0.0.1:65003", MirrorListen: "127.0.0.1:65001", PeerListen: ":65002", StoreKind: "local",
		ContainerdNamespace: "default",
	}
}

func TestAgent(t *testing.T) {
	cfg := defaults()
	is(t, judgeAgent(process(config.Agent, "v1"), cfg, "v1"), OK, "v1", "127.0.0.1:65001")
	is(t, judgeAgent(process(config.Up, "v1"), cfg, "v1"), OK)
	is(t, judgeAgent(process(config.Agent, "v1"), cfg, "v2"), Warning, "v1", "v2", "restart the agent")
	is(t, judgeAgent(process(config.Supernode, "v1"), cfg, "v1"), Failure, "supernode", "--admin-listen")
	cfg.Supernodes = []string{"sn:8002"}
	is(t, judgeAgent(process(config.Agent, "v1"), cfg, "v1"), Warning, "its supernodes is none, here it is sn:8002", "--config")
	is(t, judgeAgent(process(config.Agent, "v1").follows("sn:8002", true), cfg, "v1"), OK)
	// What nobody chose is no difference.
	other := process(config.Agent, "v1").follows("sn:8002", true)
	other.Mirror, other.Store.Kind = "127.0.0.1:7000", "containerd"
	is(t, judgeAgent(other, cfg, "v1"), OK, "127.0.0.1:7000")
}

func TestSupernode(t *testing.T) {
	super := process(config.Supernode, "v1")
	super.Node.Peers = []p2p.PeerStatus{{ID: "me", Address: "10.0.0.1:65002"}, {ID: "other", Address: "10.0.0.2:65002"}}
	agent := process(config.Agent, "v1").follows("sn:8002", true)
	is(t, judgeSupernode("sn:8002", super, agent, "v1"), OK, "2 agents")
	is(t, judgeSupernode("sn:8002", super, nil, "v1"), OK, "2 agents are connected")
	is(t, judgeSupernode("sn:8002", super, agent, "v2"), Warning, "v1", "v2")
	is(t, judgeSupernode("sn:8002", super, process(config.Agent, "v1").follows("sn:8002", false), "v1"), Failure, "not connected", "log")
	is(t, judgeSupernode("sn:65003", process(config.Agent, "v1"), agent, "v1"), Failure, "is an agent", "8002")
}

func TestAdvertisedAddress(t *testing.T) {
	for _, c := range []struct {
		addr, supernode string
		want            Status
	}{
		{"10.0.0.1:65002", "10.0.0.9:8002", OK},
		{"127.0.0.1:65002", "127.0.0.1:8002", OK}, // judged when it is dialled
		{"127.0.0.1:65002", "10.0.0.9:8002", Failure},
		{"localhost:65002", "sn.example:8002", Failure},
		{"0.0.0.0:65002", "10.0.0.9:8002", Failure},
		{"[::]:65002", "10.0.0.9:8002", Failure},
		{":65002", "10.0.0.9:8002", Failure},
		{"nonsense", "10.0.0.9:8002", Failure},
		{"", "10.0.0.9:8002", Failure},
	} {
		cfg := defaults()
		cfg.Supernodes = []string{c.supernode}
		is(t, judgeAdvertised(c.addr, cfg), c.want)
	}
}

func TestPeerPort(t *testing.T) {
	cfg, agent := defaults(), process(config.Agent, "v1")
	cfg.Supernodes = []string{"10.0.0.9:8002"}
	is(t, judgePeer("10.0.0.1:65002", "me", nil, agent, cfg), OK, "from here it answers")
	is(t, judgePeer("10.0.0.1:65002", "other", nil, agent, cfg), Failure, "another node", "peer.advertise")
	is(t, judgePeer("10.0.0.1:65002", "", syscall.ECONNREFUSED, agent, cfg), Failure, "nothing listens", "peer.listen", "65002")
	is(t, judgePeer("127.0.0.1:65002", "me", nil, agent, cfg), Warning, "right if all run on this machine", "peer.advertise")
	agent.Node.Peers = []p2p.PeerStatus{{ID: "other"}}
	is(t, judgePeer("10.0.0.1:65002", "me", nil, agent, cfg), OK, "1 peer")
}

func TestVersionOfContainerd(t *testing.T) {
	for version, want := range map[string]Status{
		"1.6.20~ds1": OK, "v1.7.27": OK, "v2.0.5": OK, "2.4.2+unknown": OK, "v1.5.9": Warning, "v3.0.0": Warning, "": Warning,
	} {
		is(t, judgeVersion(version, "/run/c.sock"), want, "/run/c.sock")
	}
}

func TestContentPath(t *testing.T) {
	is(t, judgeContent("/a", "/a", true, nil), OK)
	is(t, judgeContent("/a", "/b", false, nil), Failure, "another containerd", "containerd.content_path: /b")
	is(t, judgeContent("/a", "/b", false, fs.ErrNotExist), Failure, "containerd.content_path: /b")
}

func TestLayersAndNamespaces(t *testing.T) {
	is(t, judgeLayers(""), OK)
	is(t, judgeLayers("/etc/containerd/config.toml"), Warning, "discard_unpacked_layers = false in /etc/containerd/config.toml", "restart")
	kube := containerd.Namespace{Name: "k8s.io", Images: 12}
	is(t, judgeNamespace("k8s.io", []containerd.Namespace{kube, {Name: "default", Images: 1}}), OK, "12 images")
	is(t, judgeNamespace("default", []containerd.Namespace{kube, {Name: "default", Images: 1}}), Warning, "12 images", "containerd.namespace: k8s.io")
	is(t, judgeNamespace("default", []containerd.Namespace{{Name: "moby", Images: 3}}), Warning, "containerd.namespace: moby")
	is(t, judgeNamespace("default", []containerd.Namespace{{Name: "k8s.io"}}), OK)
	is(t, judgeNamespace("default", nil), OK)
}

func TestClock(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	of := func(ahead time.Duration, took time.Duration) clock {
		return clock{of: "sn:8002", says: at.Truncate(time.Second), asked: at.Add(ahead), answered: at.Add(ahead + took)}
	}
	is(t, judgeClocks(nil), Skipped)
	is(t, judgeClocks([]clock{{of: "silent"}}), Skipped)
	is(t, judgeClocks([]clock{of(0, time.Millisecond)}), OK, "sn:8002")
	is(t, judgeClocks([]clock{of(20*time.Second, 0)}), OK)
	is(t, judgeClocks([]clock{of(-10*time.Minute, 10*time.Minute)}), OK) // it took that long
	is(t, judgeClocks([]clock{of(0, 0), of(time.Hour, 0)}), Warning, "59m59s ahead of", "timedatectl")
	is(t, judgeClocks([]clock{of(-time.Hour, 0)}), Warning, "1h0m0s behind")
}

func TestSpace(t *testing.T) {
	const gib = 1 << 30
	is(t, judgeSpace(space{free: 100 * gib, all: 200 * gib}, "/d"), OK, "100.0 GiB of 200.0 GiB")
	is(t, judgeSpace(space{free: 2 * gib, all: 200 * gib}, "/d"), Warning, "store.max_bytes")
	is(t, judgeSpace(space{free: 1 << 20, all: 200 * gib}, "/d"), Failure)
	is(t, judgeSpace(space{free: 100 * gib, all: 200 * gib, freeInodes: 10, inodes: 1e6}, "/d"), Failure, "10 of 1000000 inodes")
	is(t, judgeSpace(space{free: 100 * gib, all: 200 * gib, freeInodes: 9000, inodes: 1e6}, "/d"), Warning)
}

func TestADirectoryThatIsToBeMadeIsMeasured(t *testing.T) {
	s, err := spaceOf(filepath.Join(t.TempDir(), "not", "yet"))
	require.NoError(t, err)
	require.Positive(t, s.all)
}

func TestDocker(t *testing.T) {
	const file = "/etc/docker/daemon.json"
	m := mirrorOf{listen: "127.0.0.1:65001", config: file}
	mirrors := func(m ...string) *docker.Daemon { return &docker.Daemon{Mirrors: m} }
	judge := func(says, reads *docker.Daemon, silent, broken error) answer {
		return judgeDocker(&dockerd{file: file, says: says, reads: reads, silent: silent, broken: broken}, m)
	}
	const ours, other = "http://127.0.0.1:65001/", "https://mirror.example"
	is(t, judge(nil, nil, fs.ErrNotExist, nil), Skipped)
	is(t, judge(mirrors(), nil, nil, nil), Warning, "Docker Hub bypass Shoal", "shoal install docker\n", "systemctl reload docker")
	is(t, judge(mirrors(ours), nil, nil, nil), OK, "dockerd names the mirror", "Docker Hub alone")
	is(t, judge(mirrors(ours), mirrors(other), nil, nil), OK) // what runs counts
	is(t, judge(mirrors(other), mirrors(ours, other), nil, nil), Warning, "has not read it", "systemctl reload docker")
	is(t, judge(mirrors(other, "http://localhost:65001"), nil, nil, nil), Warning, "behind https://mirror.example", "shoal install docker")
	is(t, judge(nil, mirrors(ours), fs.ErrNotExist, nil), OK, file+" names the mirror")
	is(t, judge(nil, mirrors(other), fs.ErrNotExist, nil), Warning, file+" does not name the mirror")
	is(t, judge(nil, nil, syscall.ECONNREFUSED, nil), Warning, "nothing listens there", "does not name")
	is(t, judge(nil, nil, fs.ErrNotExist, errors.New("it is not valid JSON, line 3")), Warning, "line 3", "correct it")
	m = mirrorOf{listen: ":7000", config: "/opt/docker.json"}
	is(t, judge(mirrors(), nil, nil, nil), Warning, "shoal install docker --mirror http://127.0.0.1:7000 --docker-config /opt/docker.json")
}

func TestDockersProxy(t *testing.T) {
	const ours, corp = "http://127.0.0.1:65001", "http://corp.example:3128"
	// p is the way to registry.example when all is well, but for a change.
	p := func(change func(p *dockerProxy)) dockerProxy {
		cfg := defaults()
		cfg.HijackCert = "/etc/shoal/ca.crt"
		cfg.HijackHosts = []config.HijackHost{{Regex: regexp.MustCompile(`^registry\.example:(443|5000)$`)}}
		cfg.ProxyRules = []config.ProxyRule{{Regex: regexp.MustCompile(`^https?://registry\.example(:5000)?/v2/.*/blobs/`)}}
		p := dockerProxy{
			says:   docker.Daemon{HTTPProxy: ours, HTTPSProxy: ours, NoProxy: "localhost,127.0.0.0/8"},
			mirror: mirrorOf{listen: "127.0.0.1:65001", config: docker.DefaultConfig},
			cfg:    cfg, certs: "/etc/docker/certs.d", trusts: []string{"registry.example", "registry.example:5000"},
		}
		change(&p)
		return p
	}
	fine := func(*dockerProxy) {}
	bare := func(p *dockerProxy) { p.says, p.cfg, p.trusts = docker.Daemon{}, defaults(), nil }
	all := []string{
		"shoal gen-ca --out /etc/shoal",
		"proxy.hijack_https.cert: /etc/shoal/ca.crt and proxy.hijack_https.key: /etc/shoal/ca.key",
		`add to proxy.hijack_https.hosts in the agent's configuration, and restart the agent: - regex: '^registry\.example:443$'`,
		"install -D -m 644 /etc/shoal/ca.crt /etc/docker/certs.d/registry.example/ca.crt",
		`add to proxy.rules in the agent's configuration, and restart the agent: - regex: '^https://registry\.example/'`,
		"shoal install docker --proxy", "systemctl daemon-reload && systemctl restart docker",
	}
	whole := judgeDockerProxy(p(bare), []string{"registry.example"})
	require.Equal(t, strings.Join(all, "\n"), strings.ReplaceAll(strings.Join(whole.fix, "\n"), "set in the agent's configuration: ", ""))
	// constrained has a CA for some hosts alone.
	constrained := func(constraints ...string) func(*dockerProxy) {
		dir := t.TempDir()
		require.NoError(t, ca.Create(dir, ca.Options{ValidFor: time.Hour, Constraints: constraints}))
		certs, err := certificates(filepath.Join(dir, ca.CertFile))
		require.NoError(t, err)
		return func(p *dockerProxy) { p.ca = certs[0] }
	}
	barred := judgeDockerProxy(p(constrained("other.test", "10.0.0.0/8")), []string{"registry.example", "registry.example:5000"})
	require.Equal(t, []string{
		"shoal gen-ca --out /etc/shoal/new --name-constraint other.test --name-constraint 10.0.0.0/8 --name-constraint registry.example",
		"set in the agent's configuration: proxy.hijack_https.cert: /etc/shoal/new/ca.crt and proxy.hijack_https.key: /etc/shoal/new/ca.key; make all who use the proxy trust it, and restart the agent",
		"install -D -m 644 /etc/shoal/new/ca.crt /etc/docker/certs.d/registry.example/ca.crt",
		"install -D -m 644 /etc/shoal/new/ca.crt /etc/docker/certs.d/registry.example:5000/ca.crt",
	}, barred.fix)
	for name, c := range map[string]struct {
		change func(*dockerProxy)
		named  []string
		want   Status
		words  []string
	}{
		"nothing is set":            {bare, nil, Skipped, []string{"asks registry-mirrors for Docker Hub alone", "shoal doctor --registry HOST"}},
		"nothing is set, one named": {bare, []string{"registry.example"}, Warning, []string{"bypass Shoal from registry.example: dockerd has no proxy", "Dockerd asks registry-mirrors for Docker Hub alone"}},
		"all is well":               {fine, nil, OK, []string{"--registry HOST"}},
		"all is well, two named":    {fine, []string{"registry.example", "registry.example:5000"}, OK, []string{"registry.example, registry.example:5000"}},
		"another proxy":             {func(p *dockerProxy) { p.says.HTTPSProxy = corp }, nil, Warning, []string{corp, "past Shoal"}},
		"another proxy, one named":  {func(p *dockerProxy) { p.says.HTTPSProxy = corp }, []string{"registry.example"}, Warning, []string{"through the proxy " + corp, "HTTPS_PROXY", "install docker --proxy"}},
		"it opens nothing":          {func(p *dockerProxy) { p.cfg.HijackHosts, p.cfg.HijackCert = nil, "" }, nil, Warning, []string{"looks into none of that", "proxy.hijack_https.hosts is empty"}},
		"it does not open this":     {fine, []string{"quay.io"}, Warning, []string{"from quay.io: the agent's proxy does not look into it", `'^quay\.io:443$'`}},
		"another port":              {fine, []string{"registry.example:5001"}, Warning, []string{`'^registry\.example:5001$'`, `'^https://registry\.example:5001/'`}},
		"no trust":                  {func(p *dockerProxy) { p.trusts = nil }, []string{"registry.example"}, Warning, []string{"dockerd does not trust /etc/shoal/ca.crt", "install -D"}},
		"a CA for others":           {constrained("other.test"), []string{"registry.example"}, Warning, []string{"the agent's proxy tunnels it", "/etc/shoal/ca.crt is not for it", "not permitted"}},
		"a CA for it":               {constrained("example"), []string{"registry.example"}, OK, nil},
		"a CA for all":              {constrained(), []string{"registry.example"}, OK, nil},
		"no rule":                   {func(p *dockerProxy) { p.cfg.ProxyRules = nil }, []string{"registry.example"}, Warning, []string{"no rule of proxy.rules names it"}},
		"a rule that keeps it out":  {func(p *dockerProxy) { p.cfg.ProxyRules[0].Direct = true }, []string{"registry.example"}, Warning, []string{"keeps it out of the swarm", "put another before it"}},
		"no-proxy":                  {func(p *dockerProxy) { p.says.NoProxy = ".example" }, []string{"registry.example"}, Warning, []string{"as no-proxy says (.example)"}},
		"loopback":                  {fine, []string{"localhost:5000"}, Warning, []string{"on loopback directly"}},
		"plain HTTP needs no trust": {func(p *dockerProxy) {
			p.cfg.Registries = []config.Registry{{Host: "registry.example", PlainHTTP: true}}
			p.cfg.HijackHosts, p.trusts = nil, nil
		}, []string{"registry.example"}, OK, nil},
		"plain HTTP needs the proxy": {func(p *dockerProxy) {
			p.cfg.Registries = []config.Registry{{Host: "registry.example", PlainHTTP: true}}
			p.says.HTTPProxy = ""
		}, []string{"registry.example"}, Warning, []string{"no proxy"}},
	} {
		t.Run(name, func(t *testing.T) { is(t, judgeDockerProxy(p(c.change), c.named), c.want, c.words...) })
	}
}

func TestWhoseCertificatesDockerTrusts(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, ca.Create(filepath.Join(dir, "a"), ca.Options{ValidFor: time.Hour}))
	require.NoError(t, ca.Create(filepath.Join(dir, "b"), ca.Options{ValidFor: time.Hour}))
	ours, err := certificates(filepath.Join(dir, "a", "ca.crt"))
	require.NoError(t, err)
	certs := filepath.Join(dir, "certs.d", "registry.example")
	require.False(t, trusted(ours, certs))
	copyTo := func(name, ca string) {
		text, err := os.ReadFile(filepath.Join(dir, ca, "ca.crt"))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(certs, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(certs, name), text, 0o600))
	}
	copyTo("b.crt", "b")
	copyTo("a.cert", "a") // a client's, to dockerd
	require.False(t, trusted(ours, certs))
	copyTo("a.crt", "a")
	require.True(t, trusted(ours, certs))
	_, err = certificates(filepath.Join(dir, "a", "ca.key"))
	require.ErrorContains(t, err, "no certificate")
}

func TestWhichHostsAreTheMirror(t *testing.T) {
	local := []string{"127.0.0.1", "10.0.0.5"}
	for _, c := range []struct {
		addr, listen string
		want         bool
	}{
		{"127.0.0.1:65001", "127.0.0.1:65001", true},
		{"localhost:65001", "127.0.0.1:65001", true},
		{"[::1]:65001", "127.0.0.1:65001", true},
		{"127.0.0.1:65000", "127.0.0.1:65001", false},
		{"10.0.0.5:65001", "127.0.0.1:65001", false},
		{"10.0.0.5:65001", ":65001", true},
		{"10.0.0.5:65001", "0.0.0.0:65001", true},
		{"localhost:65001", "[::]:65001", true},
		{"10.0.0.6:65001", ":65001", false},
		{"10.0.0.5:65001", "10.0.0.5:65001", true},
		{"registry.example", ":65001", false},
	} {
		require.Equal(t, c.want, isMirror(c.addr, c.listen, local), "%+v", c)
	}
}

func TestHosts(t *testing.T) {
	m := mirrorOf{listen: "127.0.0.1:65001"}
	host := func(urls ...string) (h []install.Host) {
		for _, u := range urls {
			h = append(h, install.Host{URL: u})
		}
		return h
	}
	const ours, other = "http://127.0.0.1:65001", "https://mirror.example"
	dir := func(name string, urls ...string) install.Hosts {
		return install.Hosts{Registry: name, Dir: "/certs/" + name, Hosts: host(urls...)}
	}
	r := &install.Reading{Config: "/etc/containerd/config.toml", CRI: true, ConfigPath: "/certs", Folders: []string{"/certs"}}
	all := func(h ...install.Hosts) answer { return judgeHosts(r, nil, h, m) }
	named := func(h ...install.Hosts) answer { return judgeHosts(r, h, nil, m) }

	is(t, all(dir("_default", ours)), OK, "all registries")
	is(t, all(dir("_default", ours, other)), OK)
	is(t, all(dir("docker.io", ours)), OK, "docker.io; other registries bypass it")
	is(t, all(dir("docker.io", ours), dir("_default", ours)), OK, "docker.io and all that have no folder")
	is(t, all(), Failure, "/certs", "shoal install containerd")
	is(t, all(dir("_default", other)), Failure, other, "shoal install containerd")
	is(t, all(dir("_default", other, ours)), Failure, "behind "+other, "move the table")
	is(t, all(dir("_default", ours), dir("quay.io", other)), Warning, "/certs/quay.io/hosts.toml", "shoal install containerd --registry quay.io")
	is(t, all(dir("_default", ours), dir("quay.io", other, ours)), Failure, "move the table")
	is(t, all(dir("_default", "https://127.0.0.1:65001")), Failure, "plain HTTP")
	is(t, all(install.Hosts{Registry: "_default", Dir: "/certs/_default", Hosts: []install.Host{{URL: ours, Lacks: []string{"resolve"}}}}),
		Failure, "does not let the mirror resolve", `capabilities = ["pull", "resolve"]`)
	is(t, all(install.Hosts{Registry: "_default", Dir: "/certs/_default", Server: ours}), Warning, "nowhere to fall back")
	is(t, all(install.Hosts{Registry: "_default", Dir: "/certs/_default", Ignored: "it is not valid TOML"}), Failure, "not valid TOML")

	is(t, named(dir("quay.io", ours)), OK, "quay.io; other")
	is(t, named(install.Hosts{Registry: "quay.io", Dir: "/certs/_default", Hosts: host(ours)}), OK, "quay.io and all that have no folder")
	is(t, named(dir("quay.io", other)), Failure)
	is(t, named(install.Hosts{Registry: "quay.io"}), Failure, "quay.io: there is no hosts.toml", "--registry quay.io")
	is(t, judgeHosts(r, []install.Hosts{dir("quay.io", other)}, []install.Hosts{dir("_default", ours)}, m), Failure, "quay.io")

	m = mirrorOf{listen: ":7000", config: "/opt/containerd.toml"}
	is(t, all(dir("_default", other)), Failure, "--mirror http://127.0.0.1:7000 --containerd-config /opt/containerd.toml")
	r.Folders = nil
	is(t, all(), Failure, "ignores lists", "systemctl restart containerd")
	r.ConfigPath = ""
	is(t, all(), Failure, "sets no config_path")
}

func TestAChangeThatContainerdHasNotRead(t *testing.T) {
	start := time.Unix(1e9, 0)
	r := &install.Reading{CRI: true, Config: "/c.toml", Changed: start.Add(time.Minute)}
	is(t, judgeAge(fine("good"), r, start), Warning, "/c.toml was changed", "systemctl restart containerd")
	is(t, judgeAge(fine("good"), r, start.Add(time.Hour)), OK)
	is(t, judgeAge(fine("good"), r, time.Time{}), OK)
}

func TestProbe(t *testing.T) {
	const mib = 1 << 20
	p := func(change func(*probe)) answer {
		x := probe{image: "img", through: "containerd", fetched: 8 * mib, mirror: 8 * mib, counted: map[string]int64{"peer": 6 * mib, "supernode": 2 * mib}}
		change(&x)
		return judgeProbe(x)
	}
	is(t, p(func(*probe) {}), OK, "8.0 MiB of img came through Shoal: 6.0 MiB from peers, 2.0 MiB from the supernode")
	is(t, p(func(x *probe) { x.mirror = 0 }), OK) // the agent wrote them itself
	is(t, p(func(x *probe) { x.mirror, x.past, x.others, x.counted = 0, 8*mib, []string{"registry.example"}, nil }), Failure, "past Shoal, from registry.example")
	is(t, p(func(x *probe) { x.past, x.others, x.mirrorRefused = mib, []string{"r"}, "502 Bad Gateway" }), Failure, "8.0 MiB came through", "502 Bad Gateway")
	is(t, p(func(x *probe) { x.counted = nil }), Warning, "in memory", "--probe")
	is(t, p(func(x *probe) { x.counted, x.mirror = nil, 0 }), Failure, "not a byte")
	is(t, p(func(x *probe) { x.counted, x.mirror, x.fetched, x.held = nil, 0, 0, mib }), Warning, "containerd has its 1.0 MiB already", "ANOTHER_IMAGE")
	is(t, p(func(x *probe) {
		x.counted, x.mirror, x.fetched, x.held = map[string]int64{"store": mib}, mib, 0, 8*mib
	}), Warning, "nothing had to be pulled", "ANOTHER_IMAGE")
	is(t, p(func(x *probe) { x.counted = map[string]int64{"store": 8 * mib} }), Warning, "here already")
	is(t, judgeFailedProbe(probe{image: "img", refused: map[string]string{"m:1": "502 Bad Gateway"}}, errors.New("not found"), false, 0), Failure, "not found", "m:1 said: 502")
	is(t, judgeFailedProbe(probe{image: "img"}, context.DeadlineExceeded, true, time.Minute), Failure, "within 1m0s", "--timeout 4m0s")
}

func TestACheckIsSkippedIfOneThatItNeedsFailed(t *testing.T) {
	n := &node{Options: Options{Patience: time.Minute, ProbePatience: time.Minute}}
	never := func(*node, context.Context) answer { panic("it runs") }
	r := n.run(t.Context(), check{"b", []string{"a"}, never}, map[string]bool{"a": true})
	require.Equal(t, Result{Name: "b", Status: Skipped, Detail: `cannot be told before "a" is fine`}, r)
}

func TestVerdictAndLines(t *testing.T) {
	ok, bad := Result{Name: "agent", Status: OK, Detail: "there"}, Result{Name: "disk", Status: Failure, Detail: "full", Fix: "one\ntwo"}
	require.Contains(t, Verdict([]Result{ok}), "--probe IMAGE")
	require.Contains(t, Verdict([]Result{ok, bad, {Status: Warning}}), "1 failure (1 warning)")
	require.Equal(t, "Pulls on this node go through Shoal.", Verdict([]Result{ok, {Name: nameProbe, Status: OK}}))
	require.Contains(t, Verdict([]Result{ok}), "Nothing keeps pulls on this node from")
	for _, all := range [][]Result{{ok, {Status: Warning}}, {ok, {Status: Warning}, {Name: nameProbe, Status: OK}}, {ok, {Name: nameProbe, Status: Warning}}} {
		require.Contains(t, Verdict(all), "(1 warning)")
		require.NotContains(t, Verdict(all), "Nothing keeps", "a warning may be that some do not")
		require.NotContains(t, Verdict(all), "Pulls on this node go")
	}
	require.Contains(t, Verdict([]Result{ok, {Name: nameProbe, Status: Warning}}), "did not prove")
	require.False(t, Failed([]Result{ok, {Status: Warning}, {Status: Skipped}}))
	require.True(t, Failed([]Result{ok, bad}))
	var out bytes.Buffer
	bad.Print(&out)
	require.Equal(t, "✗ disk             full\n                   → one\n                   → two\n", out.String())
}

func TestErrorsInPlainWords(t *testing.T) {
	require.Equal(t, "nothing listens there", why(&os.SyscallError{Err: syscall.ECONNREFUSED}))
	require.Equal(t, "no answer in time", why(context.DeadlineExceeded))
	require.Equal(t, "permission denied", why(fs.ErrPermission))
	require.Equal(t, "boo", why(errors.New("boo")))
	require.Equal(t, `Get "https://cdn.example/x?…": 403`, why(errors.New(`Get "https://cdn.example/x?Signature=secret&a=b": 403`)))
}
