package config

// Kind is the type of a key's value.
type Kind string

// Kinds of values.
const (
	String   Kind = "string"
	Strings  Kind = "list"
	Networks Kind = "networks" // 10.0.0.0/8,fd00::1
	Bool     Kind = "bool"
	Bytes    Kind = "bytes"    // a number, or one with a unit: 64MiB
	Duration Kind = "duration" // 10s
	Labels   Kind = "labels"   // zone=a,rack=7
)

// Who takes a key: commands, and the plugin.
const (
	Agent     = "agent"
	Supernode = "supernode"
	Up        = "up"
	Install   = "install" // of a runtime's configuration
	Plugin    = "plugin"  // the agent inside containerd: no command, but it takes keys
)

// Key is one setting.
type Key struct {
	Name    string
	Kind    Kind
	Default string
	Help    string
	For     []string // who takes it
}

var (
	all    = []string{Agent, Supernode, Up}
	nodes  = []string{Agent, Supernode, Up, Plugin}
	mirror = []string{Agent, Up, Plugin}
	swarm  = []string{Supernode, Up}
	agents = []string{Agent, Plugin}
)

// Lists whose entries have fields, which only the file has.
const (
	registriesKey = "registries"
	rulesKey      = "proxy.rules"
	hijackKey     = "proxy.hijack_https.hosts"
)

var lists = []string{registriesKey, rulesKey, hijackKey}

// Keys are all settings, in the order of the documentation. Beside them the
// file may hold lists; see [Registry], [ProxyRule] and [HijackHost].
var Keys = []Key{
	{"data_dir", String, "", "directory for everything that Shoal keeps; /var/lib/shoal for root, else $XDG_STATE_HOME/shoal", all},
	{"listen", String, ":8002", "address for agents, metrics and status of the supernode", swarm},
	{"advertise", String, "", "host:port at which agents find the supernode, for what it tells its operator; the host's name and the port of listen if empty", swarm},
	{"supernodes", Strings, "", "host:port of the supernode; without one, blobs come from the upstream alone", agents},

	{"mirror.listen", String, "127.0.0.1:65001", "address of the registry mirror", []string{Agent, Up, Install, Plugin}},
	{"mirror.default_registry", String, "docker.io", "registry that is asked where a request names none", mirror},
	{"mirror.stale_for", Duration, "24h", "how long a tag may be served as it last was while its registry cannot be reached", mirror},

	{"proxy.allow_from", Networks, "", "networks whose machines may use the forward proxy at mirror.listen; this machine alone if empty", mirror},
	{"proxy.allow_to", Networks, "", "networks that the proxy and the mirror may reach although they are refused by default: the agent's own addresses, link-local ones and those where clouds give out credentials", mirror},
	{"proxy.hijack_https.cert", String, "", "PEM file with the certificate of the CA that signs for the hosts of proxy.hijack_https.hosts, or with one that is presented for all of them", mirror},
	{"proxy.hijack_https.key", String, "", "PEM file with its key, which nobody else may read", mirror},
	{"store.kind", String, "local", "content store: local (Shoal's own), containerd (that of a running containerd) or none (what passes is held in memory alone, and shared from there)", []string{Agent}},
	{"store.dir", String, "", "directory of the local content store; content below data_dir if empty", all},
	{"store.max_bytes", Bytes, "0", "size of the local content store, least recently used blobs go first; 0 is no bound", all},
	{"containerd.address", String, "/run/containerd/containerd.sock", "socket of containerd", []string{Agent}},
	{"containerd.namespace", String, "default", "namespace of containerd that images are pulled into; Kubernetes uses k8s.io", agents},
	{"containerd.content_path", String, "/var/lib/containerd/io.containerd.content.v1.content", "containerd's content directory, to read blobs from its files; through the socket if empty", []string{Agent}},
	{"containerd.ingest", String, "stream", "how layers get into the containerd of store.kind: stream (containerd reads them from the mirror) or direct (the agent writes them, under a lease in containerd.namespace, while containerd waits)", agents},

	{"peer.listen", String, ":65002", "address for other nodes", agents},
	{"peer.advertise", String, "", "host:port that other nodes are told; peer.listen if empty; if the host is missing, or 0.0.0.0 or [::], the supernode fills in the address that it sees", agents},
	{"peer.labels", Labels, "", "place of the node, such as zone=a,rack=7: near nodes meet first", agents},
	{"peer.upload_rate", Bytes, "0", "bytes per second sent to other nodes; 0 is no bound", agents},
	{"peer.download_rate", Bytes, "0", "bytes per second received from other nodes; 0 is no bound", agents},

	{"memory.pieces", Bytes, "64MiB", "memory for pieces, all blobs together", nodes},

	{"admin.listen", String, "127.0.0.1:65003", "address of metrics, health and status", mirror},
	{"admin.pprof", Bool, "false", "serve /debug/pprof at the admin address", mirror},
	{"shutdown_grace", Duration, "10s", "how long running requests may take to finish on SIGTERM", nodes},

	{"log.level", String, "info", "trace, debug, info, warn or error", all},
	{"log.format", String, "text", "text or json", all},
	{"log.path", String, "", "file to append the log to; standard error if empty", all},
}

// Takes reports whether a command, or the plugin, takes the key.
func (k Key) Takes(command string) bool {
	for _, c := range k.For {
		if c == command {
			return true
		}
	}
	return false
}
