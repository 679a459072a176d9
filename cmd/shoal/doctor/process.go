package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"syscall"
	"time"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/p2p"
)

// Process is what the status API of an agent or a supernode answers, as far as
// it is looked at here.
type Process struct {
	Version struct{ Version string }
	Role    string
	Mirror  string
	Proxy   *agent.ProxyInfo // nil where there is none
	Store   struct{ Kind, Dir, Address, Namespace, ContentPath string }
	Node    p2p.Status
}

// maxStatus bounds what a process may say.
const maxStatus = 64 << 20

// ask asks a running process for its status, and the machine for its clock.
func ask(ctx context.Context, addr string) (*Process, clock, error) {
	resp, c, err := get(ctx, &http.Client{}, "http://"+addr+"/api/v1/status", addr)
	if err != nil {
		return nil, c, err
	}
	defer resp.Body.Close()
	p := &Process{}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(p)
	if resp.StatusCode != http.StatusOK || err != nil || p.Role == "" {
		return nil, c, errNotShoal
	}
	return p, c, nil
}

var errNotShoal = errors.New("what answers there is not Shoal")

func get(ctx context.Context, client *http.Client, url, name string) (*http.Response, clock, error) {
	c := clock{of: name}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, c, fmt.Errorf("%q is not host:port", name)
	}
	req.Close = true // no connection stays
	c.asked = time.Now()
	resp, err := client.Do(req)
	c.answered = time.Now()
	if err == nil {
		c.says, _ = http.ParseTime(resp.Header.Get("Date"))
	}
	return resp, c, err
}

// dialable is where a process that listens at an address answers on this
// machine.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err == nil && unspecified(host) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// loopback reports whether a host is reached from its own machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// why says in plain words why something does not answer.
func why(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.As(err, &dns):
		return "its name cannot be resolved: " + dns.Err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to it"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	}
	return plain(err.Error())
}

var queries = regexp.MustCompile(`\?[^\s"]+`)

// plain takes out the queries of URLs: those of a registry's storage grant
// access.
func plain(s string) string { return queries.ReplaceAllString(s, "?…") }

// asRoot is the step for who may not look.
func asRoot(a answer, err error) answer {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return a.do("run this as root, as the agent should be too: sudo shoal doctor")
	}
	return a
}
