package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Upstream is the registry that a cluster pulls from: Debian's docker-registry,
// behind a proxy that counts blob bytes and does harm on demand.
type Upstream struct {
	process *Process
	host    host

	sent    atomic.Int64 // blob bytes that left
	blocked atomic.Bool
	wrongAt atomic.Int64 // offset of a byte to change in every blob; negative: none
	limit   atomic.Pointer[rate.Limiter]
}

const storageAddr = "127.0.0.1:5001"

func (c *Cluster) startUpstream(ctx context.Context) error {
	dir := filepath.Join(c.dir, "registry")
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s, relativeurls: true}\nlog: {level: error, accesslog: {disabled: false}}\n", dir, storageAddr)
	file := filepath.Join(c.dir, "registry.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	// It takes any REGISTRY_… of the environment for configuration.
	p, err := c.start(c.registry, "registry", "env", "-i", "docker-registry", "serve", file)
	if err != nil {
		return err
	}
	u := &Upstream{process: p, host: c.registry}
	u.wrongAt.Store(-1)
	u.SetRate(c.o.UpstreamRate)
	c.Upstream = u
	if err := c.Serve(registryPort, u.proxy(), nil); err != nil {
		return err
	}
	return c.await(ctx, p, c.registry, "http://"+Registry+"/v2/", nil)
}

// startCache starts the pull-through cache.
func (c *Cluster) startCache(ctx context.Context) error {
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\nproxy: {remoteurl: http://%s}\nlog: {level: error}\n",
		filepath.Join(c.dir, "cache"), Cache, Registry)
	file := filepath.Join(c.dir, "cache.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	p, err := c.start(c.super, "cache", "env", "-i", "docker-registry", "serve", file)
	if err != nil {
		return err
	}
	return c.await(ctx, p, c.super, "http://"+Cache+"/v2/", nil)
}

// Sent is how many bytes of blobs have left the registry's host.
func (u *Upstream) Sent() int64 { return u.sent.Load() }

// Block makes requests for blobs fail.
func (u *Upstream) Block(on bool) { u.blocked.Store(on) }

// Corrupt changes the byte at an offset of every blob that is longer; a
// negative offset ends that.
func (u *Upstream) Corrupt(offset int64) { u.wrongAt.Store(offset) }

// SetRate bounds the bytes of blobs per second, all together; 0 does not.
func (u *Upstream) SetRate(bytes int64) {
	if bytes == 0 {
		u.limit.Store(nil)
		return
	}
	u.limit.Store(rate.NewLimiter(rate.Limit(bytes), 256<<10))
}

// Transport reaches the registry from this process.
func (u *Upstream) Transport() http.RoundTripper {
	return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return u.host.dial(ctx, network, addr)
	}, DisableKeepAlives: true}
}

var blobPath = regexp.MustCompile(`^/v2/.+/blobs/sha(256|512):[0-9a-f]+$`)

func (u *Upstream) proxy() http.Handler {
	target := &url.URL{Scheme: "http", Host: storageAddr}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{DialContext: u.host.dial, DisableCompression: true},
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodGet && blobPath.MatchString(resp.Request.URL.Path) {
				resp.Body = &blobBody{ReadCloser: resp.Body, u: u, offset: firstByte(resp)}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u.blocked.Load() && blobPath.MatchString(r.URL.Path) {
			http.Error(w, `{"errors":[{"code":"UNAVAILABLE","message":"blobs are blocked"}]}`, http.StatusServiceUnavailable)
			return
		}
		p.ServeHTTP(w, r)
	})
}

// firstByte is where the body of a blob begins.
func firstByte(resp *http.Response) int64 {
	span, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "-")
	n, err := strconv.ParseInt(span, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

type blobBody struct {
	io.ReadCloser
	u      *Upstream
	offset int64
}

func (b *blobBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if at := b.u.wrongAt.Load(); at >= b.offset && at < b.offset+int64(n) {
		p[at-b.offset] ^= 1
	}
	b.offset += int64(n)
	b.u.sent.Add(int64(n))
	if l := b.u.limit.Load(); l != nil && n > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = l.WaitN(ctx, n)
	}
	return n, err
}

// logged is a line of the access log, in Apache's combined format.
var logged = regexp.MustCompile(`"GET /v2/\S+/blobs/\S+ HTTP/1\.1" 20[06] (\d+) `)

// Logged is how many bytes of blobs the registry's own access log says it sent.
func (u *Upstream) Logged() (int64, error) {
	data, err := os.ReadFile(u.process.Log)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, m := range logged.FindAllStringSubmatch(string(data), -1) {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
