//go:build e2e

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/freeport"
)

// forward is an agent with a proxy in front of the origins.
type forward struct {
	origins
	t     *testing.T
	dir   string
	proxy string // its URL
	ca    string // file
}

// Rules of a proxy by their regex.
const (
	nothing    = "^nothing$"
	everything = "."
)

// startForward starts the built binary with a rule, which opens the connections to
// the secure origins.
func startForward(t *testing.T, rule string) *forward {
	t.Helper()
	f := &forward{origins: startOrigins(t), t: t, dir: t.TempDir()}
	shoal, err := filepath.Abs("../bin/shoal")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), shoal, "gen-ca", "--out", filepath.Join(f.dir, "ca"), "--name-constraint", "127.0.0.0/8").CombinedOutput()
	require.NoError(t, err, "%s", out)
	f.ca = filepath.Join(f.dir, "ca", "ca.crt")
	addrs, err := freeport.Addrs(3)
	require.NoError(t, err)
	f.proxy = "http://" + addrs[0]
	config := filepath.Join(f.dir, "shoal.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
mirror.listen: %s
admin.listen: %s
peer.listen: %s
data_dir: %s
log.level: debug
proxy:
  rules:
    - regex: %s
  hijack_https:
    cert: %s
    key: %s
    hosts:
      - {regex: '^127\.0\.0\.1:(%s|%s)$', ca_file: %s}
`, addrs[0], addrs[1], addrs[2], filepath.Join(f.dir, "data"), rule, f.ca, filepath.Join(f.dir, "ca", "ca.key"), portOf(t, f.secure), portOf(t, f.http2), f.origins.ca), 0o600))
	var log bytes.Buffer
	agent := exec.Command(shoal, "agent", "--config", config)
	agent.Stderr = &log
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // not to outlive a test that was killed
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
		require.NoError(t, agent.Wait(), "the agent ends badly")
		if t.Failed() {
			text := log.Bytes()
			t.Logf("the agent's log:\n%s", text[max(0, len(text)-5000):])
		}
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + addrs[1] + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	return f
}

func portOf(t *testing.T, s string) string {
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u.Port()
}

// run runs a client in an environment that knows no proxy.
func (f *forward) run(name string, args ...string) (stdout, stderr string, code int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"HOME=" + f.dir, "PATH=/usr/bin:/bin"}
	cmd.Dir = f.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(f.t, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ofTheHop are headers that belong to a connection.
var ofTheHop = []string{"connection", "keep-alive", "transfer-encoding", "proxy-connection"}

// heads are the headers of responses, without order, case and what belongs to a
// connection. What a 304 says of the content that it does not send is left out:
// package http drops it.
func heads(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, ":")
		if strings.HasPrefix(line, "HTTP/") { // the version is the hop's, and so is the reason
			lines = append(lines, "!"+strings.Fields(line)[1])
			continue
		}
		if name = strings.ToLower(name); ok && !slices.Contains(ofTheHop, name) {
			lines = append(lines, name+":"+strings.TrimSpace(value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// curl is what curl makes of a shape. through is the URL of a proxy, or "".
func (f *forward) curl(origin, through, trusted string, s shape, more ...string) string {
	f.t.Helper()
	head, body := filepath.Join(f.dir, "head"), filepath.Join(f.dir, "body")
	for _, file := range []string{head, body} {
		require.NoError(f.t, os.WriteFile(file, nil, 0o600))
	}
	args := append([]string{
		"-q", "-sS", "-m", "60", "--cacert", trusted, "--suppress-connect-headers", "--noproxy", "", "-D", head,
		"-w", "%{http_code} %{size_download} %{num_redirects} %{num_connects} %{content_type}", "-o", body,
	}, more...)
	if through != "" {
		args = append(args, "-x", through)
	}
	out, _, code := f.run("curl", append(append(args, s.curl...), origin+s.path)...)
	header, err := os.ReadFile(head)
	require.NoError(f.t, err)
	content, err := os.ReadFile(body)
	require.NoError(f.t, err)
	if strings.Contains(s.path, "echo") || s.path == "" {
		return fmt.Sprintf("exit %d; %s\n%s\n%s", code, out, heads(string(header)), content)
	}
	if slices.Contains(s.curl, "-I") { // the head in its order
		content = nil
	}
	return fmt.Sprintf("exit %d; %s\n%s\n%x", code, out, heads(string(header)), sha256.Sum256(content))
}

func TestCurlSeesNoProxy(t *testing.T) {
	f := startForward(t, nothing)
	for mode, m := range map[string]struct {
		origin  string
		direct  []string // arguments of curl without the proxy
		through []string
		opened  bool
		http2   bool // somewhere on the way
	}{
		"HTTP":         {origin: f.plain},
		"IPv6":         {origin: f.plain6},
		"HTTP 1.0":     {origin: f.plain, direct: []string{"--http1.0"}, through: []string{"--http1.0"}},
		"HTTP, tunnel": {origin: f.plain, through: []string{"-p"}},
		"HTTPS":        {origin: f.secure, direct: []string{"--http1.1"}, through: []string{"--http1.1"}, opened: true},
		"HTTP 2":       {origin: f.http2, opened: true, http2: true},
		"HTTP 1 to 2":  {origin: f.http2, direct: []string{"--http1.1"}, through: []string{"--http1.1"}, opened: true, http2: true},
	} {
		trusted := f.origins.ca
		if m.opened {
			trusted = f.ca
		}
		for _, s := range shapes {
			// HTTP 1.0 has neither chunks nor more than one answer; package http
			// sends the latter all the same.
			if s.http1 && m.http2 || mode == "HTTP 1.0" && (slices.Contains(s.curl, "Transfer-Encoding: chunked") || s.path == "/hints") {
				continue
			}
			t.Run(mode+"/"+s.name, func(t *testing.T) {
				require.Equal(t, f.curl(m.origin, "", f.origins.ca, s, m.direct...), f.curl(m.origin, f.proxy, trusted, s, m.through...))
			})
		}
	}
}

// TestCurlSeesNoSwarm asks twice for what a rule sends through the swarm. That has
// headers of its own.
func TestCurlSeesNoSwarm(t *testing.T) {
	f := startForward(t, everything)
	ours := regexp.MustCompile(`(?m)^(shoal-task|accept-ranges|age):.*\n?`)
	for origin, c := range map[string]struct {
		trusted string
		version []string
	}{
		f.plain:  {f.origins.ca, nil},
		f.secure: {f.ca, []string{"--http1.1"}},
		f.http2:  {f.ca, nil},
	} {
		for _, s := range shapes {
			if s.http1 && origin == f.http2 {
				continue
			}
			t.Run(strings.TrimPrefix(origin, "http")+"/"+s.name, func(t *testing.T) {
				want := f.curl(origin, "", f.origins.ca, s, c.version...)
				for range 2 {
					got := f.curl(origin, f.proxy, c.trusted, s, c.version...)
					require.Equal(t, ours.ReplaceAllString(want, ""), ours.ReplaceAllString(got, ""))
				}
			})
		}
	}
}

// everywhere are the origins, and whom a client of the proxy must trust there.
func (f *forward) everywhere() map[string]string {
	return map[string]string{f.plain: f.origins.ca, f.plain6: f.origins.ca, f.secure: f.ca, f.http2: f.ca}
}

// forAll are the shapes that any client can ask an origin for.
func (f *forward) forAll(origin string) (all []shape) {
	for _, s := range shapes {
		if s.curl == nil && (!s.http1 || origin != f.http2) {
			all = append(all, s)
		}
	}
	return all
}

func TestWgetSeesNoProxy(t *testing.T) {
	f := startForward(t, nothing)
	ask := func(url, trusted string, more ...string) string {
		args := append([]string{"-S", "-O", "-", "--tries=1", "--timeout=60", "--ca-certificate=" + trusted, "--content-on-error"}, more...)
		out, errs, code := f.run("wget", append(args, url)...)
		var said []string
		for line := range strings.Lines(errs) {
			if strings.HasPrefix(line, "  ") { // headers
				said = append(said, line)
			}
		}
		return fmt.Sprintf("exit %d\n%s\n%x", code, heads(strings.Join(said, "")), sha256.Sum256([]byte(out)))
	}
	for origin, trusted := range f.everywhere() {
		for _, s := range f.forAll(origin) {
			want := ask(origin+s.path, f.origins.ca, "--no-proxy")
			got := ask(origin+s.path, trusted, "-e", "use_proxy=yes", "-e", "http_proxy="+f.proxy, "-e", "https_proxy="+f.proxy)
			require.Equal(t, want, got, "%s%s", origin, s.path)
		}
	}
}

// asksWithPython asks for the URLs that follow the proxy's on its command line.
const asksWithPython = `
import hashlib, json, ssl, sys, urllib.request
proxies = {"http": sys.argv[1], "https": sys.argv[1]} if sys.argv[1] else {}
opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2])))
for url in sys.argv[3:]:
    try:
        r = opener.open(url, timeout=60)
    except urllib.error.HTTPError as e:
        r = e
    except Exception as e:
        print(url, type(e).__name__)
        continue
    try:
        body = r.read()
        print(url, r.status, len(body), hashlib.sha256(body).hexdigest())
    except Exception as e:
        print(url, type(e).__name__)
    for k, v in sorted((k.lower(), v) for k, v in r.headers.items()):
        if k not in ("connection", "transfer-encoding"):
            print("  ", k, v)
`

func TestPythonSeesNoProxy(t *testing.T) {
	f := startForward(t, nothing)
	for origin, trusted := range f.everywhere() {
		var urls []string
		for _, s := range f.forAll(origin) {
			urls = append(urls, origin+s.path)
		}
		want, errs, code := f.run("/usr/bin/python3", append([]string{"-c", asksWithPython, "", f.origins.ca}, urls...)...)
		require.Zero(t, code, errs)
		got, errs, code := f.run("/usr/bin/python3", append([]string{"-c", asksWithPython, f.proxy, trusted}, urls...)...)
		require.Zero(t, code, errs)
		require.Equal(t, want, got)
		require.Contains(t, got, "/small 200 9 ")
	}
}

func TestGoSeesNoProxy(t *testing.T) {
	f := startForward(t, nothing)
	ask := func(client *http.Client, url string) string {
		resp, err := client.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		var b bytes.Buffer
		_ = resp.Header.Write(&b)
		return fmt.Sprint(resp.StatusCode, resp.Uncompressed, len(body), sha256.Sum256(body), resp.Trailer, err != nil, heads(b.String()))
	}
	client := func(trusted, through string) *http.Client {
		text, err := os.ReadFile(trusted)
		require.NoError(t, err)
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(text))
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		if through != "" {
			to, err := url.Parse(through)
			require.NoError(t, err)
			transport.Proxy = http.ProxyURL(to)
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	for origin, trusted := range f.everywhere() {
		direct, through := client(f.origins.ca, ""), client(trusted, f.proxy)
		for _, s := range f.forAll(origin) {
			if !strings.Contains(s.path, "%zz") { // package url refuses that
				require.Equal(t, ask(direct, origin+s.path), ask(through, origin+s.path), "%s%s", origin, s.path)
			}
		}
	}
}

func TestChromiumSeesNoProxy(t *testing.T) {
	f := startForward(t, nothing)
	nss := filepath.Join(f.dir, ".pki", "nssdb")
	require.NoError(t, os.MkdirAll(nss, 0o700))
	for name, file := range map[string]string{"proxy": f.ca, "world": f.origins.ca} {
		if name == "proxy" {
			_, errs, code := f.run("certutil", "-d", "sql:"+nss, "-N", "--empty-password")
			require.Zero(t, code, errs)
		}
		_, errs, code := f.run("certutil", "-d", "sql:"+nss, "-A", "-t", "C,,", "-n", name, "-i", file)
		require.Zero(t, code, errs)
	}
	n := 0
	dump := func(url string, more ...string) string {
		n++
		args := append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
			"--user-data-dir=" + filepath.Join(f.dir, "chromium"+strconv.Itoa(n)), "--dump-dom",
		}, more...)
		out, errs, code := f.run("chromium", append(args, url)...)
		require.Zero(t, code, errs)
		require.Contains(t, out, "/small 200 9 ", errs)
		return out
	}
	for _, origin := range []string{f.plain, f.plain6, f.secure, f.http2} {
		direct, through := []string{"--no-proxy-server"}, []string{"--proxy-server=" + f.proxy, "--proxy-bypass-list=<-loopback>"}
		if origin == f.secure { // Chromium asks with other headers where HTTP/2 is spoken
			direct, through = append(direct, "--disable-http2"), append(through, "--disable-http2")
		}
		require.Equal(t, dump(origin+"/page", direct...), dump(origin+"/page", through...), origin)
	}
}
