//go:build e2e

package integration

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/stretchr/testify/require"
)

// registryWithReferrers serves all of the distribution spec from memory.
func registryWithReferrers(t *testing.T) string {
	t.Helper()
	r := olareg.New(config.Config{Storage: config.ConfigStorage{StoreType: config.StoreMem}})
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of its own slips
	s.Start()
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, r.Close())
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// freeAddr is an address of loopback that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// mirrorOf runs Shoal in front of a registry of this machine, with an empty
// store, and returns the mirror's address.
func mirrorOf(t *testing.T, registry string) string {
	t.Helper()
	mirror, admin := freeAddr(t), freeAddr(t)
	logFile, err := os.Create(filepath.Join(t.TempDir(), "agent.log"))
	require.NoError(t, err)
	cmd := exec.Command("../bin/shoal", "agent", "--mirror-listen", mirror, "--admin-listen", admin,
		"--peer-listen", freeAddr(t), "--data-dir", t.TempDir(),
		"--plain-http", registry, "--mirror-default-registry", registry)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if data, err := os.ReadFile(logFile.Name()); err == nil && t.Failed() {
			t.Logf("the agent's log ends with:\n%s", data[max(0, len(data)-3000):])
		}
		_ = logFile.Close()
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond)
	return mirror
}

// pushed is what lies in the registry, for the suite's read-only mode.
type pushed struct {
	mu                               sync.Mutex
	tags, manifests, blobs, subjects []string
	noDigest                         []string // answers that lack Docker-Content-Digest
}

var read = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|referrers)/([^/]+)$`)

func (c *pushed) add(repository string, resp *http.Response) {
	method, path := resp.Request.Method, resp.Request.URL.Path
	m := read.FindStringSubmatch(path)
	if m == nil || method != http.MethodGet && method != http.MethodHead || resp.StatusCode != http.StatusOK {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m[2] != "referrers" && resp.Header.Get("Docker-Content-Digest") == "" {
		c.noDigest = append(c.noDigest, method+" "+path)
	}
	if method != http.MethodGet || m[1] != repository {
		return
	}
	list := &c.tags
	switch {
	case m[2] == "blobs":
		list = &c.blobs
	case m[2] == "referrers":
		list = &c.subjects
	case strings.Contains(m[3], ":"):
		list = &c.manifests
	}
	if !slices.Contains(*list, m[3]) {
		*list = append(*list, m[3])
	}
}

// splitter sends writes to the registry and reads to its mirror, so that the
// suite, which pushes what it pulls, can test a mirror that takes no pushes.
func splitter(t *testing.T, registry, mirror, repository string) (addr string, seen *pushed) {
	t.Helper()
	seen = &pushed{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			target := registry
			reads := r.In.Method == http.MethodGet || r.In.Method == http.MethodHead
			if reads && !strings.Contains(r.In.URL.Path, "/blobs/uploads/") {
				target = mirror
			}
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Host = r.In.Host
		},
		// The encoding is the client's business.
		Transport: &http.Transport{DisableCompression: true},
		ModifyResponse: func(resp *http.Response) error {
			seen.add(repository, resp)
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), seen
}

// checks are the suite's own totals.
type checks struct{ passed, failed, skipped int }

func (c checks) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// verdict is a line of the suite's tree of checks; its inner nodes sum up those
// below them.
var verdict = regexp.MustCompile(`^( *)OCI Conformance Test.*: (Pass|FAIL|Skip|Error|Disabled|Unknown)$`)

func count(out string) (c checks) {
	var lines [][]string
	for line := range strings.Lines(out) {
		if m := verdict.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			lines = append(lines, m)
		}
	}
	for i, m := range lines {
		if i+1 < len(lines) && len(lines[i+1][1]) > len(m[1]) {
			continue
		}
		switch m[2] {
		case "Pass":
			c.passed++
		case "FAIL", "Error":
			c.failed++
		case "Skip":
			c.skipped++
		}
	}
	return c
}

const repository = "conformance/repo1"

// conformance runs the OCI's suite.
func conformance(t *testing.T, registry string, env ...string) checks {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(modern(t), "conformance"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+registry, "OCI_TLS=disabled", "OCI_REPO1="+repository,
		"OCI_REPO2=conformance/repo2", "OCI_RESULTS_DIR="+t.TempDir(), "OCI_VERSION=1.1",
		// A mirror may keep what its upstream has deleted.
		"OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		// The registry used here refuses to take them.
		"OCI_DATA_NONDISTRIBUTABLE=false")
	cmd.Env = append(cmd.Env, env...)
	// Its exit code says nothing: in read-only mode it crashes after the last
	// check, while it writes its report.
	out, _ := cmd.CombinedOutput()
	c := count(string(out))
	if c.failed > 0 || c.passed == 0 {
		t.Errorf("the suite says:\n%s", out)
	}
	return c
}

func TestConformanceOfPullAndDiscovery(t *testing.T) {
	registry := registryWithReferrers(t)
	addr, seen := splitter(t, registry, mirrorOf(t, registry), repository)
	t.Logf("pushed beside the mirror, read through it: %v", conformance(t, addr))
	require.Empty(t, seen.noDigest, "each answer with content names its digest")

	// What lies in the registry now, from an agent that has seen none of it.
	list := func(name string, values []string) string { return name + "=" + strings.Join(values, " ") }
	t.Logf("read-only, %d tags, %d manifests, %d blobs, %d subjects: %v",
		len(seen.tags), len(seen.manifests), len(seen.blobs), len(seen.subjects),
		conformance(t, mirrorOf(t, registry), "OCI_API_PUSH=false",
			list("OCI_RO_DATA_TAGS", seen.tags), list("OCI_RO_DATA_MANIFESTS", seen.manifests),
			list("OCI_RO_DATA_BLOBS", seen.blobs), list("OCI_RO_DATA_REFERRERS", seen.subjects)))
}
