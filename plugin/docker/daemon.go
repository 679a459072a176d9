package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// Daemon is how a dockerd pulls, as it says itself or as its daemon.json does.
type Daemon struct {
	// Version is that of dockerd, API that of its interface, such as 1.41; a
	// file does not say.
	Version, API string
	// Mirrors are those for Docker Hub, in its order.
	Mirrors []string
	// HTTPProxy and HTTPSProxy are those that it reaches registries through,
	// with credentials blotted out; NoProxy says which it does not.
	HTTPProxy, HTTPSProxy, NoProxy string
}

// maxInfo bounds what is read of dockerd's account of itself, in bytes.
const maxInfo = 4 << 20

// Ask asks the dockerd at a socket.
func Ask(ctx context.Context, socket string) (*Daemon, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/info", nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("dockerd at %s answers %s", socket, resp.Status)
	}
	var info struct {
		ServerVersion  string
		HTTPProxy      string `json:"HttpProxy"`
		HTTPSProxy     string `json:"HttpsProxy"`
		NoProxy        string
		RegistryConfig struct{ Mirrors []string }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxInfo)).Decode(&info); err != nil {
		return nil, fmt.Errorf("dockerd at %s: %w", socket, err)
	}
	return &Daemon{
		Version: info.ServerVersion, API: resp.Header.Get("Api-Version"), Mirrors: info.RegistryConfig.Mirrors,
		HTTPProxy: info.HTTPProxy, HTTPSProxy: info.HTTPSProxy, NoProxy: info.NoProxy,
	}, nil
}

// ReadConfig reads a daemon.json.
func ReadConfig(text []byte) (*Daemon, error) {
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	var says Daemon
	if _, says.Mirrors, err = d.strings(mirrorsKey); err != nil {
		return nil, err
	}
	proxies, err := d.object(proxiesKey)
	if err != nil || proxies == nil {
		return &says, err
	}
	for i, to := range []*string{&says.HTTPProxy, &says.HTTPSProxy, &says.NoProxy} {
		if *to, err = d.textOf(proxies, proxyKeys[i]); err != nil {
			return nil, err
		}
	}
	return &says, nil
}

// knowsProxies reports whether the dockerd of the machine knows "proxies" in
// daemon.json.
func knowsProxies(ctx context.Context, t *undo.Tree, o Options) (bool, error) {
	if o.Version != "" {
		knows, ok := atLeast(o.Version, 23, 0)
		if !ok {
			return false, fmt.Errorf("dockerd version %q is not a version such as 20.10.24 or 28", o.Version)
		}
		return knows, nil
	}
	if o.Socket != "" || t.Root() == "/" && o.Binary == "" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if d, err := Ask(ctx, cmp.Or(o.Socket, DefaultSocket)); err == nil {
			// Not its version, which is a word where somebody built it.
			if knows, ok := atLeast(d.API, 1, 42); ok {
				return knows, nil
			}
		}
	}
	out, err := t.Output(ctx, "dockerd", o.Binary, "--version")
	if err == nil {
		// Docker version VERSION, build COMMIT
		if fields := strings.Fields(out); len(fields) >= 3 {
			if knows, ok := atLeast(fields[2], 23, 0); ok {
				return knows, nil
			}
		}
		err = fmt.Errorf("it says %q", strings.TrimSpace(out))
	}
	return false, fmt.Errorf("no dockerd below %s tells its version, on which it depends where a proxy is set: name it with --dockerd, or its version with --docker-version (%w)", t.Root(), err)
}

var numbers = regexp.MustCompile(`^v?(\d+)(?:\.(\d+))?\b`)

// atLeast compares versions such as v28, 20.10.24+dfsg1 and 1.41; ok is false if it
// is none.
func atLeast(version string, major, minor int) (yes, ok bool) {
	m := numbers.FindStringSubmatch(version)
	if m == nil {
		return false, false
	}
	a, _ := strconv.Atoi(m[1])
	b, _ := strconv.Atoi(m[2]) // none is 0
	return a > major || a == major && b >= minor, true
}
