//go:build e2e

package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/stretchr/testify/require"
)

// split sends reads to the mirror and everything else to the registry behind
// it, so that the suite can push what it then pulls.
func split(t *testing.T, registry, mirror string) string {
	to := func(host string) http.Handler {
		u := &url.URL{Scheme: "http", Host: host}
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
		}}
	}
	writes, reads := to(registry), to(mirror)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		if read && !strings.Contains(r.URL.Path, "/blobs/uploads/") {
			reads.ServeHTTP(w, r)
			return
		}
		writes.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

var junitTotals = regexp.MustCompile(`<testsuite [^>]*tests="(\d+)" failures="(\d+)"`)

func TestOCIConformance(t *testing.T) {
	yes, no := true, false
	reg := olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem},
		API:     config.ConfigAPI{PushEnabled: &yes, DeleteEnabled: &no, Referrer: config.ConfigAPIReferrer{Enabled: &yes}},
	})
	defer reg.Close()
	upstream := httptest.NewServer(reg)
	defer upstream.Close()
	host := strings.TrimPrefix(upstream.URL, "http://")
	mirror, _ := daemons(t, host, "--mirror-default-registry", host)

	cmd := exec.Command(filepath.Join(modern(t), "conformance"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(),
		"OCI_REGISTRY="+split(t, host, mirror), "OCI_TLS=disabled", "OCI_RESULTS_DIR=results",
		"OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		"OCI_DATA_NONDISTRIBUTABLE=false", // the registry behind the mirror refuses to take it
	)
	out, err := cmd.CombinedOutput()
	junit, readErr := os.ReadFile(filepath.Join(cmd.Dir, "results", "junit.xml"))
	require.NoError(t, readErr, "%s", out)
	m := junitTotals.FindSubmatch(junit)
	require.NotNil(t, m, "%s", junit[:min(len(junit), 500)])
	t.Logf("OCI conformance: %s tests, %s failed", m[1], m[2])
	require.Equal(t, "0", string(m[2]), "%s", out)
	require.NoError(t, err, "%s", out)
}
