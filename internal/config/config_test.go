package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// load loads as a command would, from a file's text and arguments.
func load(t *testing.T, command, file string, args ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags, command)
	if file != "" {
		path := filepath.Join(t.TempDir(), "shoal.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	require.NoError(t, flags.Parse(args))
	return Load(flags, command)
}

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	c, err := load(t, Agent, "")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:65001", c.MirrorListen)
	require.Equal(t, ":65002", c.PeerListen)
	require.Equal(t, ":65002", c.PeerAdvertise)
	require.Equal(t, "127.0.0.1:65003", c.AdminListen)
	require.Equal(t, "docker.io", c.DefaultRegistry)
	require.Equal(t, "local", c.StoreKind)
	require.EqualValues(t, 64<<20, c.MemoryPieces)
	require.Equal(t, 10*time.Second, c.ShutdownGrace)
	require.Empty(t, c.Supernode())
	c, err = load(t, Supernode, "")
	require.NoError(t, err)
	require.Equal(t, ":8002", c.Listen)
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	const file = "mirror:\n  listen: 127.0.0.1:1\npeer:\n  listen: :1\nlog:\n  level: error\n"
	t.Setenv("SHOAL_PEER_LISTEN", ":2")
	t.Setenv("SHOAL_LOG_LEVEL", "warn")
	t.Setenv("SHOAL_SUPERNODES", "10.0.0.1")
	c, err := load(t, Agent, file, "--log-level", "debug", "--plain-http", "a:5000", "--plain-http", "b")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", c.MirrorListen)
	require.Equal(t, ":2", c.PeerListen)
	require.Equal(t, "debug", c.LogLevel)
	require.Equal(t, "10.0.0.1:8002", c.Supernode())
	require.Equal(t, []Registry{{Host: "a:5000", PlainHTTP: true}, {Host: "b", PlainHTTP: true}}, c.Registries)
}

func TestAFileIsReadInFull(t *testing.T) {
	c, err := load(t, Agent, `
supernodes: ["http://sn.example:9000/"]
store: {kind: containerd, max_bytes: 10GiB}
containerd: {namespace: k8s.io}
peer: {labels: {zone: a, rack: 7}, upload_rate: 1MB}
admin: {pprof: true}
registries:
  - {host: "registry.example:5000", plain_http: true}
  - {host: other.example, ca_file: /ca.pem, insecure: false, credentials: /secret}
`, "--plain-http", "other.example")
	require.NoError(t, err)
	require.Equal(t, "sn.example:9000", c.Supernode())
	require.EqualValues(t, 10<<30, c.StoreMaxBytes)
	require.Equal(t, map[string]string{"zone": "a", "rack": "7"}, c.PeerLabels)
	require.EqualValues(t, 1e6, c.UploadRate)
	require.True(t, c.AdminPprof)
	require.Equal(t, []Registry{
		{Host: "registry.example:5000", PlainHTTP: true},
		{Host: "other.example", PlainHTTP: true, CAFile: "/ca.pem", Credentials: "/secret"},
	}, c.Registries)
}

func TestMistakesAreNamed(t *testing.T) {
	for file, want := range map[string]string{
		"miror: {listen: x}":                                `unknown key "miror.listen": did you mean "mirror.listen"?`,
		"mirror: {listn: x}":                                `unknown key "mirror.listn": did you mean "mirror.listen"?`,
		"registries: [{host: a, plain: true}]":              `unknown key "plain" in registries[0]: did you mean`,
		"supernodes: [\"http://\"]":                         `supernodes has "http://": it must be host:port`,
		"supernodes: [\"a:b:c\"]":                           `supernodes has "a:b:c"`,
		"supernodes: [a/b]":                                 `supernodes has "a/b"`,
		"supernodes: [\"u@a\"]":                             `supernodes has "u@a"`,
		"registries: [{host: \"http://a:5000\"}]":           `registry "http://a:5000" must be host[:port]`,
		"registries: [{host: a/b}]":                         `registry "a/b" must be host[:port]`,
		"registries: [{plain_http: true}]":                  "registries[0] has no host",
		"registries: [x]":                                   "registries[0]",
		"registries: {host: a}":                             "registries",
		"memory: {pieces: lots}":                            `memory.pieces is "lots": it must be a number of bytes`,
		"memory: {pieces: -1}":                              "memory.pieces",
		"shutdown_grace: soon":                              "shutdown_grace",
		"admin: {pprof: perhaps}":                           "admin.pprof",
		"store: {kind: s3}":                                 `store.kind is "s3"`,
		"containerd: {ingest: quick}":                       `containerd.ingest is "quick"`,
		"containerd: {ingest: direct}":                      "containerd.ingest is direct, but store.kind is local: set store.kind to containerd",
		"containerd: {ingest: direct}\nstore: {kind: none}": "store.kind is none",
		"supernodes: [a, b]":                                "one supernode is supported",
		"log: {format: xml}":                                `log.format is "xml"`,
		"peer: {listen: nowhere}":                           `peer.listen is "nowhere"`,
		"mirror: {listen: [1, 2]}":                          "mirror.listen",
		"mirror:\n\tlisten: x":                              "yaml",
		"peer: {labels: zone}":                              "peer.labels",
		"peer: {labels: {zone: {a: b}}}":                    "peer.labels.zone is map[a:b]: it must be text",
		"memory: {pieces: [1]}":                             "memory.pieces is [1]: it must be a number of bytes",
		"mirror: x":                                         "mirror is x: it holds keys such as mirror.listen",
		"miror: {}":                                         `unknown key "miror"`,
		"log.level: a\nlog: {level: b}":                     "log.level is set twice",
		"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}": "nested too deep",
		"registries: [{host: a, insecure: huh}]":            "insecure",

		`proxy: {rules: [{regex: "("}]}`:                                      "proxy.rules[0]: config: regex is \"(\": it must be a regular expression",
		"proxy: {rules: [{regx: a}]}":                                         `unknown key "regx" in proxy.rules[0]: did you mean "regex"?`,
		"proxy: {rules: [{direct: true}]}":                                    "proxy.rules[0] has no regex",
		"proxy: {rules: [{regex: a, redirect: 'http://b/'}]}":                 `proxy.rules[0].redirect is "http://b/": it is host[:port]`,
		"proxy: {rules: [{regex: a, redirect: 'x:99999'}]}":                   `proxy.rules[0].redirect is "x:99999": it is host[:port]`,
		"registries: [{host: 'a:65536'}]":                                     `registry "a:65536" must be host[:port]`,
		"registries: [{host: 'a:0'}]":                                         `registry "a:0" must be host[:port]`,
		"supernodes: ['a:80020']":                                             `supernodes has "a:80020": it must be host:port`,
		"proxy: {rules: a}":                                                   "proxy.rules is a: it must be a list",
		"proxy: {rules: [a]}":                                                 "proxy.rules[0] is a: it must be an entry with a regex",
		"proxy: {rule: []}":                                                   `unknown key "proxy.rule": did you mean "proxy.rules"?`,
		"proxy: {hijack_https: {certs: a}}":                                   `unknown key "proxy.hijack_https.certs": did you mean "proxy.hijack_https.cert"?`,
		"proxy: {hijack_https: {cert: a}}":                                    "belong together",
		"proxy: {hijack_https: {cert: a, key: b}}":                            "proxy.hijack_https.hosts is empty",
		"proxy: {hijack_https: {hosts: [{regex: a}]}}":                        "shoal gen-ca makes them",
		"proxy: {hijack_https: {cert: a, key: b, hosts: [{insecure: true}]}}": "proxy.hijack_https.hosts[0] has no regex",
		"proxy: {allow_to: [10.0.0.0/33]}":                                    `proxy.allow_to is "10.0.0.0/33": it must be a list of networks`,
		"proxy: {allow_from: [host]}":                                         "proxy.allow_from",
	} {
		_, err := load(t, Agent, file)
		require.ErrorContains(t, err, want, "%s", file)
	}
	t.Setenv("SHOAL_MIRROR_LISTN", "x")
	_, err := load(t, Agent, "")
	require.ErrorContains(t, err, "did you mean SHOAL_MIRROR_LISTEN?")
}

func TestAnotherProgramsFileMayHoldOurKeys(t *testing.T) {
	t.Setenv("SHOAL_MIRROR_LISTEN", "127.0.0.1:1")
	t.Setenv("SHOAL_NONSENSE", "x")
	c, err := FromMap(map[string]any{
		"supernodes":    []any{"sn.example"},
		"mirror.listen": "127.0.0.1:2",
		"peer":          map[string]any{"labels": map[string]any{"zone": "a"}, "upload_rate": int64(1000)},
		"registries":    []any{map[string]any{"host": "a:5000", "plain_http": true}},
		"containerd":    map[string]any{"ingest": "direct"},
	}, Plugin)
	require.NoError(t, err)
	require.Equal(t, "direct", c.ContainerdIngest)
	require.Equal(t, "sn.example:8002", c.Supernode())
	require.Equal(t, "127.0.0.1:2", c.MirrorListen)
	require.Equal(t, "127.0.0.1:65003", c.AdminListen)
	require.Equal(t, map[string]string{"zone": "a"}, c.PeerLabels)
	require.EqualValues(t, 1000, c.UploadRate)
	require.Equal(t, []Registry{{Host: "a:5000", PlainHTTP: true}}, c.Registries)
	for want, tree := range map[string]map[string]any{
		"store.kind is not for the plugin":         {"store": map[string]any{"kind": "local"}},
		"log.level is not for the plugin":          {"log.level": "debug"},
		`unknown key "miror": did you mean`:        {"miror": "x"},
		"peer.upload_rate":                         {"peer.upload_rate": "fast"},
		"supernodes has 2 entries":                 {"supernodes": []any{"a", "b"}},
		"containerd.address is not for the plugin": {"containerd": map[string]any{"address": "x"}},
	} {
		_, err := FromMap(tree, Plugin)
		require.ErrorContains(t, err, want)
	}
}

func TestTheProxyIsConfiguredInOneSection(t *testing.T) {
	t.Setenv("SHOAL_PROXY_ALLOW_FROM", "10.0.0.0/8,fd00::1")
	c, err := load(t, Agent, `
proxy:
  allow_to: 169.254.169.254
  rules:
    - {regex: '^https://a/', use_https: true, redirect: "b.example:80"}
    - {regex: '\.png$', direct: true}
  hijack_https:
    cert: /c
    hosts:
      - {regex: ':443$', ca_file: /ca}
      - {regex: '.', insecure: true}
`, "--proxy-hijack-https-key", "/k")
	require.NoError(t, err)
	require.Equal(t, "[10.0.0.0/8 fd00::1/128]", fmt.Sprint(c.ProxyFrom))
	require.Equal(t, "[169.254.169.254/32]", fmt.Sprint(c.ProxyTo))
	require.Equal(t, "[{^https://a/ false true b.example:80} {\\.png$ true false }]", fmt.Sprint(c.ProxyRules))
	require.Equal(t, "[{:443$ false /ca} {. true }]", fmt.Sprint(c.HijackHosts))
	require.Equal(t, []string{"/c", "/k"}, []string{c.HijackCert, c.HijackKey})
}

func TestAPlainHTTPHostHasNoScheme(t *testing.T) {
	_, err := load(t, Agent, "", "--plain-http", "http://a:5000")
	require.ErrorContains(t, err, `registry "http://a:5000" must be host[:port]`)
	for _, host := range []string{"a", "a:5000", "10.0.0.1:5000", "[::1]:5000"} {
		_, err := load(t, Agent, "", "--plain-http", host, "--supernodes", host)
		require.NoError(t, err, host)
	}
}

func TestKeysMayBeDottedAndSectionsEmpty(t *testing.T) {
	c, err := load(t, Agent, `
mirror.listen: 127.0.0.1:1
mirror:
log: {}
data_dir:
peer.labels:
  topology.kubernetes.io/zone: a
  topology: b
  7: 8
`)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", c.MirrorListen)
	require.Equal(t, "info", c.LogLevel)
	require.Equal(t, map[string]string{"topology.kubernetes.io/zone": "a", "topology": "b", "7": "8"}, c.PeerLabels)
}

func TestACommandLeavesTheKeysOfOthersAlone(t *testing.T) {
	const file = "store: {kind: containerd, max_bytes: 1GiB}\ncontainerd: {ingest: direct}\nsupernodes: [a]\n"
	c, err := load(t, Up, file)
	require.NoError(t, err)
	require.Equal(t, "local", c.StoreKind)
	require.Empty(t, c.Supernode())
	require.EqualValues(t, 1<<30, c.StoreMaxBytes)
}

func TestAdvertisedAddressesAreCompleted(t *testing.T) {
	name, err := os.Hostname()
	require.NoError(t, err)
	for advertise, want := range map[string]string{"": name + ":9", "10.0.0.1": "10.0.0.1:9", "sn.example:80": "sn.example:80", "[::1]": "[::1]:9"} {
		c, err := load(t, Supernode, "", "--listen", "0.0.0.0:9", "--advertise", advertise)
		require.NoError(t, err)
		require.Equal(t, want, c.Advertise)
	}
	c, err := load(t, Agent, "", "--peer-listen", ":7", "--peer-advertise", "10.0.0.1")
	require.NoError(t, err)
	require.Equal(t, "10.0.0.1:7", c.PeerAdvertise)
	for _, listen := range []string{":7", "10.0.0.5:7", "node.example:7", "[fd00::1]:7"} {
		c, err := load(t, Agent, "", "--peer-listen", listen)
		require.NoError(t, err)
		require.Equal(t, listen, c.PeerAdvertise, "nodes connect where it listens")
	}
}

func TestVariablesOfKubernetesServicesAreLeftAlone(t *testing.T) {
	for _, name := range []string{"SHOAL_SERVICE_HOST", "SHOAL_SUPERNODE_SERVICE_PORT_RPC", "SHOAL_PORT", "SHOAL_PORT_8002_TCP_ADDR"} {
		t.Setenv(name, "x")
	}
	_, err := load(t, Agent, "")
	require.NoError(t, err)
	t.Setenv("SHOAL_PEER_PORTS", "x")
	_, err = load(t, Agent, "")
	require.ErrorContains(t, err, "unknown variable SHOAL_PEER_PORTS")
}

func TestEveryKeyIsKnownByItsFlagAndInTheReference(t *testing.T) {
	text := string(Markdown())
	for _, k := range Keys {
		require.NotEmpty(t, k.Help, k.Name)
		require.Equal(t, k.Name, keyOfFlag(FlagOf(k.Name)))
		require.Contains(t, text, "`"+k.Name+"`")
		require.Contains(t, text, "`"+EnvOf(k.Name)+"`")
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1024": 1024, "64MiB": 64 << 20, "1.5 GiB": 3 << 29, "10kb": 10_000, "2m": 2 << 20} {
		got, err := ParseBytes(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "MiB", "-1", "1e30", "NaN", "64 MiBs"} {
		_, err := ParseBytes(s)
		require.Error(t, err, s)
	}
}

// TestOneFileServesAll has a supernode and an installation read the file of an
// agent whose proxy opens connections.
func TestOneFileServesAll(t *testing.T) {
	const file = `
mirror: {listen: ":7000"}
proxy:
  hijack_https: {cert: /c, key: /k, hosts: [{regex: '^registry\.example:443$', ca_file: /ca}]}
  rules: [{regex: '^https://registry\.example/'}]
`
	for _, command := range []string{Agent, Supernode, Up, Install} {
		c, err := load(t, command, file)
		require.NoError(t, err, command)
		require.Equal(t, "/ca", c.HijackHosts[0].CAFile, "whom to trust concerns all")
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("mirror: {listen: x}"))
	f.Add([]byte("registries: [{host: a}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k := koanf.New(".")
		if loadFile(k, Agent, data) != nil {
			return
		}
		if c, err := decode(k); err == nil {
			_ = c.complete(Agent)
		}
	})
}
