package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
)

// reader takes values out of koanf, and remembers the first that is wrong.
type reader struct {
	k   *koanf.Koanf
	err error
}

func decode(k *koanf.Koanf) (*Config, error) {
	r := &reader{k: k}
	c := &Config{
		DataDir:       r.text("data_dir"),
		Listen:        r.text("listen"),
		Advertise:     r.text("advertise"),
		Supernodes:    r.list("supernodes"),
		ShutdownGrace: r.duration("shutdown_grace"),

		MirrorListen:    r.text("mirror.listen"),
		DefaultRegistry: r.text("mirror.default_registry"),
		StaleFor:        r.duration("mirror.stale_for"),

		StoreKind:     r.text("store.kind"),
		StoreDir:      r.text("store.dir"),
		StoreMaxBytes: r.bytes("store.max_bytes"),

		ContainerdAddress:     r.text("containerd.address"),
		ContainerdNamespace:   r.text("containerd.namespace"),
		ContainerdContentPath: r.text("containerd.content_path"),
		ContainerdIngest:      r.text("containerd.ingest"),

		PeerListen:    r.text("peer.listen"),
		PeerAdvertise: r.text("peer.advertise"),
		PeerLabels:    r.labels("peer.labels"),
		UploadRate:    r.bytes("peer.upload_rate"),
		DownloadRate:  r.bytes("peer.download_rate"),

		MemoryPieces: r.bytes("memory.pieces"),

		AdminListen: r.text("admin.listen"),
		AdminPprof:  r.bool("admin.pprof"),

		ProxyFrom:  r.networks("proxy.allow_from"),
		ProxyTo:    r.networks("proxy.allow_to"),
		HijackCert: r.text("proxy.hijack_https.cert"),
		HijackKey:  r.text("proxy.hijack_https.key"),

		LogLevel:  r.text("log.level"),
		LogFormat: r.text("log.format"),
		LogPath:   r.text("log.path"),
	}
	for e := range r.entries(registriesKey, "host", "plain_http", "ca_file", "insecure", "credentials") {
		c.Registries = append(c.Registries, Registry{
			Host: e.text("host"), PlainHTTP: e.flag("plain_http"), CAFile: e.text("ca_file"),
			Insecure: e.flag("insecure"), Credentials: e.text("credentials"),
		})
	}
	for e := range r.entries(rulesKey, "regex", "direct", "use_https", "redirect") {
		c.ProxyRules = append(c.ProxyRules, ProxyRule{
			Regex: e.regex("regex"), Direct: e.flag("direct"), UseHTTPS: e.flag("use_https"), Redirect: e.text("redirect"),
		})
	}
	for e := range r.entries(hijackKey, "regex", "insecure", "ca_file") {
		c.HijackHosts = append(c.HijackHosts, HijackHost{Regex: e.regex("regex"), Insecure: e.flag("insecure"), CAFile: e.text("ca_file")})
	}
	return c, r.err
}

func (r *reader) wrong(key string, value any, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("config: %s is %v: it must be %s", key, value, want)
	}
}

func (r *reader) text(key string) string { return r.scalar(key, "text") }

// scalar is the text of a single value. want says what it must be.
func (r *reader) scalar(key, want string) string {
	switch v := r.k.Get(key).(type) {
	case nil:
		return ""
	case string:
		return v
	case int, int64, uint64, float64, bool:
		return fmt.Sprint(v)
	default:
		r.wrong(key, v, want)
		return ""
	}
}

func (r *reader) list(key string) []string {
	switch v := r.k.Get(key).(type) {
	case nil:
		return nil
	case string:
		return splitList(v)
	case []string:
		return v
	case []any:
		out := []string{}
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				r.wrong(key, v, "a list of texts")
				return nil
			}
			out = append(out, s)
		}
		return out
	default:
		r.wrong(key, v, "a list of texts")
		return nil
	}
}

func (r *reader) bool(key string) bool {
	const want = "true or false"
	s := r.scalar(key, want)
	v, err := strconv.ParseBool(s)
	if err != nil {
		r.wrong(key, strconv.Quote(s), want)
	}
	return v
}

func (r *reader) duration(key string) time.Duration {
	const want = "a duration such as 10s or 24h"
	s := r.scalar(key, want)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		r.wrong(key, strconv.Quote(s), want)
	}
	return d
}

func (r *reader) bytes(key string) int64 {
	const want = "a number of bytes such as 1048576 or 64MiB"
	s := r.scalar(key, want)
	n, err := ParseBytes(s)
	if err != nil {
		r.wrong(key, strconv.Quote(s), want)
	}
	return n
}

func (r *reader) labels(key string) map[string]string {
	const want = "labels such as zone=a,rack=7"
	out := map[string]string{}
	switch v := r.k.Get(key).(type) {
	case nil:
	case leaf:
		for name, value := range v {
			switch value.(type) {
			case string, int, int64, uint64, float64, bool:
				out[name] = fmt.Sprint(value)
			default:
				r.wrong(key+"."+name, value, "text")
				return nil
			}
		}
	case string:
		for _, pair := range splitList(v) {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || name == "" {
				r.wrong(key, strconv.Quote(v), want)
				return nil
			}
			out[name] = value
		}
	default:
		r.wrong(key, v, want)
	}
	return out
}

var units = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"k", 1 << 10},
	{"m", 1 << 20},
	{"g", 1 << 30},
	{"t", 1 << 40},
	{"b", 1},
}

// ParseBytes reads a number of bytes, with or without a unit.
func ParseBytes(s string) (int64, error) {
	number, factor := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v*factor > math.MaxInt64/2 || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is not a number of bytes", s)
	}
	return int64(v * factor), nil
}
