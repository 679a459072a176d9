package mirror_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// raw sends a request as it stands, and returns the answer.
func (f *front) raw(request string) answer {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	require.NoError(f.t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(f.t, err)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return answer{Response: resp, body: body}
}

// TestHostileRequestsGetOCIErrors sends what no honest client sends. Nothing of
// it reaches the upstream.
func TestHostileRequestsGetOCIErrors(t *testing.T) {
	f := newFront(t)
	held := f.store.Put([]byte("a blob"))
	dgst := digest.FromString("x").String()
	long := strings.Repeat("a", 300)
	for _, c := range []struct {
		line   string // method and target
		header string
		status int
	}{
		// paths
		{line: "GET /", status: 404},
		{line: "GET /index.html", status: 404},
		{line: "GET //", status: 404},
		{line: "GET //v2/", status: 404},
		{line: "GET /v1/_ping", status: 404},
		{line: "GET /v2/_catalog", status: 404},
		{line: "GET /v2/app", status: 404},
		{line: "GET /v2/app/manifests", status: 404},
		{line: "GET /v2/app/unknown/x", status: 404},
		{line: "GET /a/b/v2/app/tags/list", status: 404},
		{line: "GET /v2/../../etc/passwd", status: 404},
		{line: "GET /v2/%2e%2e/%2e%2e/etc/passwd", status: 404},
		{line: "GET /v2/../app/tags/list", status: 400},
		{line: "GET /v2/%2e%2e/tags/list", status: 400},
		{line: "GET /v2/..%2f..%2fapp/tags/list", status: 400},
		{line: "GET /v2//manifests/v1", status: 400},
		{line: "GET /v2//app/tags/list", status: 400},
		{line: "GET /v2/app//tags/list", status: 400},
		// names
		{line: "GET /v2/APP/tags/list", status: 400},
		{line: "GET /v2/-app/tags/list", status: 400},
		{line: "GET /v2/a..b/tags/list", status: 400},
		{line: "GET /v2/a%00b/tags/list", status: 400},
		{line: "GET /v2/a%0ab/tags/list", status: 400},
		{line: "GET /v2/%ff%fe/tags/list", status: 400},
		{line: "GET /v2/a%20b/tags/list", status: 400},
		{line: "GET /v2/" + long + "/tags/list", status: 400},
		// tags and digests
		{line: "GET /v2/app/manifests/", status: 400},
		{line: "GET /v2/app/manifests/%2e%2e", status: 400},
		{line: "GET /v2/app/manifests/-x", status: 400},
		{line: "GET /v2/app/manifests/a%00", status: 400},
		{line: "GET /v2/app/manifests/" + long, status: 400},
		{line: "GET /v2/app/manifests/sha256:abc", status: 400},
		{line: "GET /v2/app/manifests/sha256:" + strings.Repeat("G", 64), status: 400},
		{line: "GET /v2/app/blobs/latest", status: 400},
		{line: "GET /v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", status: 400},
		{line: "GET /v2/app/blobs/sha256:" + strings.Repeat("a", 65), status: 400},
		{line: "GET /v2/app/blobs/sha256:" + strings.Repeat("a", 9000), status: 400},
		{line: "GET /v2/app/blobs/sha256%3A..%2F..%2F", status: 404},
		{line: "HEAD /v2/app/blobs/sha256:", status: 400},
		{line: "GET /v2/app/referrers/latest", status: 400},
		// registries
		{line: "GET /v2/app/tags/list?ns=", status: 400},
		{line: "GET /v2/app/tags/list?ns=http://a.example/", status: 400},
		{line: "GET /v2/app/tags/list?ns=user@a.example", status: 400},
		{line: "GET /v2/app/tags/list?ns=a.example%2Fb", status: 400},
		{line: "GET /v2/app/tags/list?ns=a.example:0", status: 400},
		{line: "GET /v2/app/tags/list?ns=a.example:99999", status: 400},
		{line: "GET /v2/app/tags/list?ns=a..example", status: 400},
		{line: "GET /v2/app/tags/list?ns=[::1", status: 400},
		{line: "GET /v2/app/tags/list?ns=a%0d%0aX:y", status: 400},
		{line: "GET /v2/app/tags/list?ns=" + long, status: 400},
		{line: "GET /v2/app/tags/list?ns=%zz", status: 400},
		{line: "GET /..%2f/v2/app/tags/list", status: 404},
		{line: "GET /../v2/app/tags/list", status: 400},
		// methods
		{line: "POST /v2/app/blobs/uploads/", status: 405},
		{line: "PUT /v2/app/manifests/v1", status: 405},
		{line: "PATCH /v2/app/blobs/uploads/1", status: 405},
		{line: "DELETE /v2/app/manifests/v1", status: 405},
		{line: "OPTIONS /v2/", status: 405},
		{line: "TRACE /v2/", status: 405},
		{line: "BREW /v2/", status: 405},
		{line: "CONNECT a.example:443", status: 405},
		{line: "GET http://a.example/v2/", status: 405},
		// what is asked of tags/list, and ranges
		{line: "GET /v2/app/tags/list?n=-1", status: 400},
		{line: "GET /v2/app/tags/list?n=99999999999999999999", status: 400},
		{line: "GET /v2/app/blobs/" + held.String(), header: "Range: bytes=6-\r\n", status: 416},
		{line: "GET /v2/app/blobs/" + held.String(), header: "Range: bytes=99999999999999999999-\r\n", status: 416},
		// sizes
		{line: "GET /v2/app/blobs/" + dgst, header: "X: " + strings.Repeat("a", 200<<10) + "\r\n", status: 431},
		{line: "GET /v2/app/blobs/" + dgst, header: strings.Repeat("A: b\r\n", 80<<10), status: 431},
		{line: "GET /v2/app/tags/list?last=" + strings.Repeat("a", 20<<10), status: 414},
	} {
		a := f.raw(fmt.Sprintf("%s HTTP/1.1\r\nHost: mirror\r\n%sConnection: close\r\n\r\n", c.line, c.header))
		what := fmt.Sprintf("%.120s %.20s", c.line, c.header)
		require.Equal(t, c.status, a.StatusCode, "%s: %s", what, a.body)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"), what)
		if strings.HasPrefix(c.line, "HEAD") {
			require.Empty(t, a.body)
			continue
		}
		var e struct {
			Errors []struct{ Code, Message string }
		}
		require.NoError(t, json.Unmarshal(a.body, &e), "%s: %q", what, a.body)
		require.Len(t, e.Errors, 1, what)
		require.NotEmpty(t, e.Errors[0].Code, what)
		require.NotEmpty(t, e.Errors[0].Message, what)
		require.Less(t, len(a.body), 600, what)
		if c.status == 405 {
			require.Equal(t, "GET, HEAD", a.Header.Get("Allow"), what)
			require.Equal(t, "UNSUPPORTED", e.Errors[0].Code, what)
		}
	}
	require.Empty(t, f.up.Requests(""))
}
