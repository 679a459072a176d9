package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is a complete configuration.
type Config struct {
	DataDir       string
	Listen        string
	Advertise     string
	Supernodes    []string
	ShutdownGrace time.Duration

	MirrorListen    string
	DefaultRegistry string
	StaleFor        time.Duration

	StoreKind     string
	StoreDir      string
	StoreMaxBytes int64

	ContainerdAddress     string
	ContainerdNamespace   string
	ContainerdContentPath string
	ContainerdIngest      string

	PeerListen    string
	PeerAdvertise string
	PeerLabels    map[string]string
	UploadRate    int64
	DownloadRate  int64

	MemoryPieces int64

	AdminListen string
	AdminPprof  bool

	LogLevel, LogFormat, LogPath string

	Registries []Registry

	ProxyRules            []ProxyRule
	ProxyFrom, ProxyTo    []netip.Prefix
	HijackCert, HijackKey string
	HijackHosts           []HijackHost
}

// Registry is an entry of the list registries: how one upstream is reached.
type Registry struct {
	Host        string `koanf:"host"`
	PlainHTTP   bool   `koanf:"plain_http"`
	CAFile      string `koanf:"ca_file"`
	Insecure    bool   `koanf:"insecure"`
	Credentials string `koanf:"credentials"`
}

// ProxyRule is an entry of the list proxy.rules: what becomes of requests whose
// URL it matches.
type ProxyRule struct {
	Regex    *regexp.Regexp
	Direct   bool
	UseHTTPS bool
	Redirect string
}

// HijackHost is an entry of the list proxy.hijack_https.hosts: connections to
// what it matches are opened.
type HijackHost struct {
	Regex    *regexp.Regexp
	Insecure bool
	CAFile   string
}

// SupernodeAddress is the host:port of an entry of supernodes.
func SupernodeAddress(s string) (string, error) {
	addr := withPort(strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/"), "", defaultSupernodePort)
	if !IsHost(addr) {
		return "", fmt.Errorf("supernodes has %q: it must be host:port", s)
	}
	return addr, nil
}

// defaultSupernodePort is used where an entry of supernodes has no port.
const defaultSupernodePort = "8002"

// complete fills in what follows from other values, and refuses what cannot be
// with whoever takes it.
func (c *Config) complete(taker string) error {
	if c.DataDir == "" {
		c.DataDir = defaultDataDir()
	}
	if c.StoreDir == "" {
		c.StoreDir = filepath.Join(c.DataDir, "content")
	}
	if c.StoreKind != "local" && c.StoreKind != "containerd" && c.StoreKind != "none" {
		return fmt.Errorf("store.kind is %q: it is local, containerd or none", c.StoreKind)
	}
	if c.ContainerdIngest != "stream" && c.ContainerdIngest != "direct" {
		return fmt.Errorf("containerd.ingest is %q: it is stream or direct", c.ContainerdIngest)
	}
	// The plugin has no store.kind: its store is that of the containerd around it.
	if c.ContainerdIngest == "direct" && c.StoreKind != "containerd" && taker == Agent {
		return fmt.Errorf("containerd.ingest is direct, but store.kind is %s: set store.kind to containerd, or leave containerd.ingest out", c.StoreKind)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log.format is %q: it is text or json", c.LogFormat)
	}
	if len(c.Supernodes) > 1 {
		return fmt.Errorf("supernodes has %d entries: one supernode is supported", len(c.Supernodes))
	}
	for i, s := range c.Supernodes {
		addr, err := SupernodeAddress(s)
		if err != nil {
			return err
		}
		c.Supernodes[i] = addr
	}
	if err := c.advertise(); err != nil {
		return err
	}
	for i, r := range c.Registries {
		if r.Host == "" {
			return fmt.Errorf("registries[%d] has no host", i)
		}
		if !IsHost(r.Host) {
			return fmt.Errorf("registry %q must be host[:port] as clients name it, without scheme or path; see --plain-http", r.Host)
		}
	}
	return c.completeProxy(taker)
}

func (c *Config) completeProxy(taker string) error {
	for i, r := range c.ProxyRules {
		if r.Regex == nil {
			return fmt.Errorf("proxy.rules[%d] has no regex", i)
		}
		if r.Redirect != "" && !IsHost(r.Redirect) {
			return fmt.Errorf("proxy.rules[%d].redirect is %q: it is host[:port]", i, r.Redirect)
		}
	}
	for i, h := range c.HijackHosts {
		if h.Regex == nil {
			return fmt.Errorf("proxy.hijack_https.hosts[%d] has no regex", i)
		}
	}
	pair := c.HijackCert != "" || c.HijackKey != ""
	switch {
	case pair && (c.HijackCert == "" || c.HijackKey == ""):
		return errors.New("proxy.hijack_https.cert and proxy.hijack_https.key belong together: set both")
	case pair && len(c.HijackHosts) == 0:
		return errors.New("proxy.hijack_https.hosts is empty: name the hosts whose connections are opened")
	case !pair && len(c.HijackHosts) > 0 && slices.Contains(mirror, taker): // to others they say whom to trust
		return errors.New("proxy.hijack_https.hosts need proxy.hijack_https.cert and proxy.hijack_https.key: shoal gen-ca makes them")
	}
	return nil
}

// advertise completes the addresses that others are told.
func (c *Config) advertise() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen is %q: it is host:port", c.Listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	c.Advertise = withPort(c.Advertise, host, port)
	if _, port, err = net.SplitHostPort(c.PeerListen); err != nil {
		return fmt.Errorf("peer.listen is %q: it is host:port", c.PeerListen)
	}
	if c.PeerAdvertise == "" {
		c.PeerAdvertise = c.PeerListen // whoever hears it fills in the host where that is any
		return nil
	}
	c.PeerAdvertise = withPort(c.PeerAdvertise, "", port)
	return nil
}

// withPort is the address, with what it lacks.
func withPort(addr, host, port string) string {
	if addr == "" {
		return net.JoinHostPort(host, port)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return net.JoinHostPort(strings.Trim(addr, "[]"), port)
	}
	return addr
}

// IsHost reports whether s is host[:port], with nothing else that a URL may have.
func IsHost(s string) bool {
	u, err := url.Parse("http://" + s)
	if err != nil || u.Hostname() == "" || u.Host != s || strings.HasSuffix(s, ":") {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && port > 0
}

// Supernode is the supernode's address, "" if there is none.
func (c *Config) Supernode() string {
	if len(c.Supernodes) == 0 {
		return ""
	}
	return c.Supernodes[0]
}

func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/shoal"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "shoal")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "shoal")
	}
	return filepath.Join(home, ".local", "state", "shoal")
}
