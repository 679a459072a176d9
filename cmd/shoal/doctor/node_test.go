package doctor

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/containerdtest"
	"github.com/shoal-p2p/shoal/internal/metrics"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/mirror"
	"github.com/shoal-p2p/shoal/p2p"
	"github.com/shoal-p2p/shoal/plugin/containerd"
	"github.com/shoal-p2p/shoal/plugin/local"
	"github.com/shoal-p2p/shoal/resolver"
	"github.com/shoal-p2p/shoal/supernode"
)

// machine is a node with a supernode beside it, both in this process, and
// perhaps a containerd.
type machine struct {
	options     Options
	upstream    *registrytest.Registry
	containerd  *containerdtest.Daemon
	certs       string // config_path
	super, peer *httptest.Server
	admin       *httptest.Server
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnContext = p2p.ConnContext
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func addrOf(s *httptest.Server) string { return s.Listener.Addr().String() }

// live runs a part of the machine until the test ends.
func live(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// statusAPI answers as the real one does.
func statusAPI(status func() Process) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(status()) })
	return mux
}

func newMachine(t *testing.T, d *containerdtest.Daemon) *machine {
	t.Helper()
	m := &machine{upstream: registrytest.New(t), containerd: d, certs: t.TempDir()}
	m.upstream.PushImage("team/app", "1", [][]byte{registrytest.Bytes(1, 3<<20), registrytest.Bytes(2, 300<<10)})
	up, err := resolver.New(resolver.Config{Registries: []resolver.Registry{{Host: m.upstream.Host(), PlainHTTP: true}}})
	require.NoError(t, err)
	t.Cleanup(up.Close)
	open := func() *local.Store {
		s, err := local.New(local.Config{Dir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}

	sn, err := supernode.New(supernode.Config{
		Store:  open(),
		Source: func(o p2p.Origin, dgst digest.Digest) p2p.Source { return mirror.Source(up, o, dgst) },
	})
	require.NoError(t, err)
	super := http.NewServeMux()
	super.Handle("/api/", statusAPI(func() Process { return Process{Role: config.Supernode, Node: sn.Node().Status()} }))
	super.Handle("/", sn.Handler())
	m.super = serve(t, super)
	live(t, sn.Run)

	cfg := &config.Config{
		StoreKind: "local", StoreDir: t.TempDir(), ContainerdAddress: filepath.Join(t.TempDir(), "none.sock"), ContainerdNamespace: "default",
		Supernodes: []string{addrOf(m.super)}, Registries: []config.Registry{{Host: m.upstream.Host(), PlainHTTP: true}},
	}
	var store p2p.Store
	var manifests mirror.ManifestStore
	if d == nil {
		s := open()
		store, manifests = s, s.Manifests()
	} else {
		cfg.StoreKind, cfg.ContainerdAddress, cfg.ContainerdContentPath = "containerd", d.Address, d.ContentPath
		s, err := containerd.New(containerd.Config{Address: d.Address, ContentPath: d.ContentPath})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		store, manifests = s, s.Manifests()
	}
	peer := httptest.NewUnstartedServer(nil)
	peer.Config.ConnContext = p2p.ConnContext
	node, err := p2p.NewNode(p2p.Config{Store: store, Supernode: addrOf(m.super), Advertise: peer.Listener.Addr().String()})
	require.NoError(t, err)
	peer.Config.Handler = node.Handler()
	peer.Start()
	t.Cleanup(peer.Close)
	m.peer = peer
	cfg.PeerListen = addrOf(peer)
	front, err := mirror.New(mirror.Config{DefaultRegistry: "docker.io", Node: node, Resolver: up, Manifests: manifests, Metrics: metrics.New()})
	require.NoError(t, err)
	face := serve(t, front)
	cfg.MirrorListen = addrOf(face)
	said := *cfg
	m.admin = serve(t, statusAPI(func() Process {
		p := Process{Role: config.Agent, Mirror: said.MirrorListen, Node: node.Status()}
		p.Store.Kind, p.Store.Dir, p.Store.Address = said.StoreKind, said.StoreDir, said.ContainerdAddress
		p.Store.Namespace, p.Store.ContentPath = said.ContainerdNamespace, said.ContainerdContentPath
		return p
	}))
	cfg.AdminListen = addrOf(m.admin)
	live(t, node.Run)
	require.Eventually(t, func() bool {
		s := node.Status().Supernode
		return s != nil && s.Connected && len(sn.Node().Status().Peers) == 1
	}, time.Minute, 10*time.Millisecond)

	m.options = Options{
		Config: cfg, HostsDirs: []string{m.certs}, Patience: 2 * time.Minute, ProbePatience: 4 * time.Minute,
		DockerConfig: filepath.Join(t.TempDir(), "daemon.json"), DockerSocket: filepath.Join(t.TempDir(), "docker.sock"),
	}
	m.hosts(t, "_default", "http://"+cfg.MirrorListen)
	return m
}

// hosts writes the hosts.toml of a folder.
func (m *machine) hosts(t *testing.T, registry string, urls ...string) {
	t.Helper()
	text := ""
	for _, u := range urls {
		text += "[host.\"" + u + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	}
	require.NoError(t, os.MkdirAll(filepath.Join(m.certs, registry), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(m.certs, registry, "hosts.toml"), []byte(text), 0o600))
}

func (m *machine) image() string { return m.upstream.Host() + "/team/app:1" }

// examine runs doctor with changed options.
func (m *machine) examine(t *testing.T, change func(*Options)) map[string]Result {
	t.Helper()
	o := m.options
	cfg := *o.Config
	o.Config = &cfg
	change(&o)
	found := map[string]Result{}
	for _, r := range Run(t.Context(), o, func(Result) {}) {
		found[r.Name] = r
	}
	return found
}

// ends requires the checks that did not end well to be these.
func ends(t *testing.T, found map[string]Result, want map[string]Status) {
	t.Helper()
	got := map[string]Status{}
	for name, r := range found {
		if r.Status != OK {
			got[name] = r.Status
		}
	}
	base := map[string]Status{namePeers: Warning, nameDocker: Skipped, nameProxy: Skipped, nameProbe: Skipped} // all is on one machine
	maps.Copy(base, want)
	for name, s := range base {
		if s == OK {
			delete(base, name)
		}
	}
	require.Equal(t, base, got, "%+v", slices.Collect(maps.Values(found)))
}

func TestANodeWithContainerd(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		m := newMachine(t, d)
		ctx := namespaces.WithNamespace(t.Context(), "default")
		none := func(*Options) {}
		ends(t, m.examine(t, none), nil)

		probe := func(o *Options) { o.Image = m.image() }
		found := m.examine(t, probe)
		ends(t, found, map[string]Status{nameProbe: OK})
		require.Contains(t, found[nameProbe].Detail, "from the supernode")
		require.Contains(t, found[nameClock].Detail, m.upstream.Host())
		images, err := d.Client(t).ListImages(ctx)
		require.NoError(t, err)
		require.Empty(t, images)

		// The same image in the store of containerd.
		s, err := containerd.New(containerd.Config{Address: d.Address, ContentPath: d.ContentPath})
		require.NoError(t, err)
		defer s.Close()
		_, err = s.Pull(t.Context(), m.image(), containerd.PullOptions{Mirror: m.options.Config.MirrorListen})
		require.NoError(t, err)
		found = m.examine(t, probe)
		ends(t, found, map[string]Status{nameProbe: Warning})
		require.Contains(t, found[nameProbe].Detail, "nothing had to be pulled")
	})
}

func TestWhatIsBrokenIsFound(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		m := newMachine(t, d)
		nothing := net.JoinHostPort("127.0.0.1", "1")
		mirrorURL := "http://" + m.options.Config.MirrorListen
		for name, c := range map[string]struct {
			change func(*Options)
			want   map[string]Status
			says   string
		}{
			"the agent is down": {
				func(o *Options) { o.Config.AdminListen, o.Image = nothing, m.image() },
				map[string]Status{nameAgent: Failure, namePeers: Skipped, nameProbe: Skipped},
				"shoal agent",
			},
			"another configuration": {
				func(o *Options) { o.Config.ContainerdNamespace = "k8s.io" },
				map[string]Status{nameAgent: Warning},
				"restart the agent",
			},
			"a registry that bypasses the mirror": {
				func(o *Options) { m.hosts(t, "quay.io", "http://mirror.example") },
				map[string]Status{nameHosts: Warning},
				"quay.io/hosts.toml",
			},
			"one that was named": {
				func(o *Options) { m.hosts(t, "quay.io", "http://mirror.example"); o.Registries = []string{"quay.io"} },
				map[string]Status{nameHosts: Failure},
				"shoal install containerd --registry quay.io",
			},
			"no hosts.toml": {
				func(o *Options) {
					require.NoError(t, os.RemoveAll(filepath.Join(m.certs, "_default")))
					o.Image = m.image()
				},
				map[string]Status{nameHosts: Failure},
				"shoal install containerd",
			},
			"another mirror": {
				func(o *Options) { m.hosts(t, "_default", "http://mirror.example") },
				map[string]Status{nameHosts: Failure},
				"not this agent's mirror",
			},
			"ours comes second": {
				func(o *Options) { m.hosts(t, "_default", "http://mirror.example", mirrorURL) },
				map[string]Status{nameHosts: Failure},
				"move the table",
			},
			"layers are discarded": {
				func(o *Options) {
					o.ContainerdConfig = filepath.Join(t.TempDir(), "c.toml")
					text := "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  discard_unpacked_layers = true\n"
					require.NoError(t, os.WriteFile(o.ContainerdConfig, []byte(text), 0o600))
				},
				map[string]Status{nameLayers: Warning},
				"discard_unpacked_layers = false",
			},
			"Docker": {
				func(o *Options) { require.NoError(t, os.WriteFile(o.DockerSocket, nil, 0o600)) },
				map[string]Status{nameDocker: Warning},
				"registry-mirrors",
			},
			"an image that there is not": {
				func(o *Options) { o.Image = m.upstream.Host() + "/team/other:1" },
				map[string]Status{nameProbe: Failure},
				"could not be pulled",
			},
		} {
			t.Run(name, func(t *testing.T) {
				defer func() {
					_ = os.RemoveAll(filepath.Join(m.certs, "quay.io"))
					_ = os.Remove(m.options.DockerSocket)
					m.hosts(t, "_default", mirrorURL)
				}()
				found := m.examine(t, c.change)
				ends(t, found, c.want)
				all := ""
				for _, r := range found {
					all += r.Detail + "\n" + r.Fix + "\n"
				}
				require.Contains(t, all, c.says)
			})
		}
	})
}

func TestWhatTheAgentHasWrong(t *testing.T) {
	containerdtest.Each(t, func(t *testing.T, d *containerdtest.Daemon) {
		m := newMachine(t, d)
		down := func(o *Options) { o.Config.AdminListen = net.JoinHostPort("127.0.0.1", "1") } // what doctor was given holds
		gone := map[string]Status{nameAgent: Failure, namePeers: Skipped}
		with := func(name string, s Status) map[string]Status {
			w := maps.Clone(gone)
			w[name] = s
			return w
		}

		found := m.examine(t, func(o *Options) { down(o); o.Config.ContainerdContentPath = t.TempDir() })
		ends(t, found, with(nameContent, Failure))
		require.Contains(t, found[nameContent].Fix, "containerd.content_path: "+d.ContentPath)

		found = m.examine(t, func(o *Options) { down(o); o.Config.ContainerdContentPath = "/nowhere" })
		ends(t, found, with(nameContent, Failure))

		// Kubernetes has images, and the agent looks elsewhere.
		s, err := containerd.New(containerd.Config{Address: d.Address, Namespace: "k8s.io", ContentPath: d.ContentPath})
		require.NoError(t, err)
		defer s.Close()
		_, err = s.Pull(t.Context(), m.image(), containerd.PullOptions{Mirror: m.options.Config.MirrorListen})
		require.NoError(t, err)
		found = m.examine(t, func(*Options) {})
		ends(t, found, map[string]Status{nameNamespace: Warning})
		require.Contains(t, found[nameNamespace].Fix, "containerd.namespace: k8s.io")

		// The supernode is down, and so is containerd.
		m.super.CloseClientConnections()
		m.super.Listener.Close()
		found = m.examine(t, func(*Options) {})
		require.Equal(t, Failure, found[nameSupernode].Status, found[nameSupernode].Detail)
		require.Equal(t, Skipped, found[namePeers].Status)
		require.Contains(t, found[nameSupernode].Fix, "shoal supernode")

		d.Stop(t)
		found = m.examine(t, func(*Options) {})
		require.Equal(t, Failure, found[nameContainerd].Status)
		for _, name := range []string{nameContent, nameHosts, nameLayers, nameNamespace} {
			require.Equal(t, Skipped, found[name].Status, name)
			require.Contains(t, found[name].Detail, "containerd")
		}
	})
}

func TestAnAgentWithAStoreOfItsOwn(t *testing.T) {
	m := newMachine(t, nil)
	m.options.HostsDirs = nil
	skipped := map[string]Status{nameContainerd: Skipped, nameContent: Skipped, nameHosts: Skipped, nameLayers: Skipped, nameNamespace: Skipped}
	probe := func(o *Options) { o.Image = m.image() }
	want := maps.Clone(skipped)
	want[nameProbe] = OK
	found := m.examine(t, probe)
	ends(t, found, want)
	require.Contains(t, found[nameProbe].Detail, "from the supernode")

	want[nameProbe] = Warning
	found = m.examine(t, probe)
	ends(t, found, want)
	require.Contains(t, found[nameProbe].Detail, "here already")

	found = m.examine(t, func(o *Options) { o.Image = strings.Replace(m.image(), "app", "other", 1) })
	want[nameProbe] = Failure
	ends(t, found, want)
}
