package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/shoal-p2p/shoal/plugin/containerd"
)

// sockets are where containerds listen that come with something else.
var sockets = []string{
	containerd.DefaultAddress, "/run/k3s/containerd/containerd.sock",
	"/var/snap/microk8s/common/run/containerd.sock", "/run/docker/containerd/containerd.sock",
}

// checkContainerd asks containerd what it is.
func (n *node) checkContainerd(ctx context.Context) answer {
	addr := strings.TrimPrefix(n.Config.ContainerdAddress, "unix://")
	_, err := os.Stat(addr)
	if !n.storesInContainerd() && err != nil {
		return skip("none at %s, and none is needed: store.kind is %s", addr, n.Config.StoreKind)
	}
	if errors.Is(err, fs.ErrNotExist) {
		a := fail("there is no socket at %s (containerd.address)", addr)
		for _, s := range sockets {
			if _, err := os.Stat(s); err == nil && s != addr {
				return a.do("there is one at %s: set containerd.address to it in the agent's configuration, and restart the agent", s)
			}
		}
		return a.do("systemctl start containerd").do("or set containerd.address in the agent's configuration to the socket of the one that runs")
	}
	n.store, err = containerd.New(containerd.Config{
		Address: n.Config.ContainerdAddress, Namespace: n.Config.ContainerdNamespace, ContentPath: n.Config.ContainerdContentPath,
	})
	if err == nil {
		n.daemon, err = n.store.Describe(ctx)
	}
	if err != nil {
		n.daemon = containerd.Description{}
		a, err := n.silent(ctx, addr, err)
		if !n.storesInContainerd() {
			a.status = Warning
		}
		return asRoot(a, err)
	}
	return judgeVersion(n.daemon.Version, addr)
}

// silent says why a containerd whose socket is there does not answer.
func (n *node) silent(ctx context.Context, addr string, err error) (answer, error) {
	conn, e := (&net.Dialer{Timeout: time.Second}).DialContext(context.WithoutCancel(ctx), "unix", addr)
	reason := why(err)
	switch {
	case errors.Is(e, fs.ErrPermission):
		return fail("%s (containerd.address): %s", addr, why(e)), e
	case e != nil:
		reason, err = why(e), e
	case errdefs.IsUnavailable(err) || errdefs.IsDeadlineExceeded(err) || ctx.Err() != nil:
		reason = "it takes connections and does not answer"
	}
	if conn != nil {
		_ = conn.Close()
	}
	return fail("%s (containerd.address): %s", addr, reason).
		do("systemctl restart containerd").do("and see what it says: journalctl -u containerd"), err
}

var knownVersion = regexp.MustCompile(`^v?(1\.[67]|2\.\d+)\.`)

func judgeVersion(version, addr string) answer {
	if !knownVersion.MatchString(version) {
		return warn("%s answers at %s; Shoal is known to work with 1.6, 1.7 and 2.x", version, addr)
	}
	return fine("%s answers at %s", version, addr)
}

// checkContent compares the content path with containerd's own.
func (n *node) checkContent(context.Context) answer {
	switch {
	case !n.storesInContainerd():
		return skip("the agent does not need it: store.kind is %s", n.Config.StoreKind)
	case n.daemon.Version == "":
		return n.withoutContainerd()
	}
	ours := n.Config.ContainerdContentPath
	if ours == "" {
		return skip("containerd.content_path is empty: blobs are read through the socket, at a tenth of the speed")
	}
	_, err := os.ReadDir(filepath.Join(ours, "blobs"))
	if errors.Is(err, fs.ErrNotExist) { // containerd makes it with the first blob
		_, err = os.ReadDir(ours)
	}
	theirs := filepath.Join(n.daemon.Process.Root, n.daemon.ContentPath)
	if ours == n.daemon.ContentPath && errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) { // so does 1.7
			return fine("%s is this containerd's, which makes it with its first image", ours)
		}
	}
	same := false
	if err == nil {
		a, e1 := os.Stat(ours)
		b, e2 := os.Stat(theirs)
		// One that cannot be seen from here is taken for mounted elsewhere.
		same = e1 == nil && (e2 != nil || os.SameFile(a, b))
	}
	return judgeContent(ours, n.daemon.ContentPath, same, err)
}

func judgeContent(ours, theirs string, same bool, err error) answer {
	set := func(a answer) answer {
		if theirs == "" || theirs == ours {
			return a
		}
		return a.do("set it in the agent's configuration and restart the agent: containerd.content_path: %s", theirs)
	}
	switch {
	case err != nil:
		return asRoot(set(fail("%s (containerd.content_path): %s; blobs would be read through the socket, at a tenth of the speed", ours, why(err))), err)
	case !same:
		return set(fail("%s (containerd.content_path) is that of another containerd; this one has its blobs in %s", ours, theirs))
	}
	return fine("%s is this containerd's, and can be read", ours)
}

// checkLayers looks whether CRI keeps the layers that it unpacks.
func (n *node) checkLayers(context.Context) answer {
	switch {
	case !n.storesInContainerd():
		return skip("the agent does not need it: store.kind is %s", n.Config.StoreKind)
	case n.daemon.Version == "":
		return n.withoutContainerd()
	case n.reading == nil:
		return skip("containerd's configuration could not be read")
	}
	return judgeLayers(n.reading.Discards)
}

func judgeLayers(file string) answer {
	if file != "" {
		return warn("%s sets discard_unpacked_layers: layers vanish once they are unpacked, and the other nodes cannot get them from here", file).
			do("set discard_unpacked_layers = false in %s", file).do("systemctl restart containerd")
	}
	return fine("containerd keeps the layers that it has unpacked")
}

// checkNamespace looks where the images are.
func (n *node) checkNamespace(context.Context) answer {
	switch {
	case !n.storesInContainerd():
		return skip("the agent does not need it: store.kind is %s", n.Config.StoreKind)
	case n.daemon.Version == "":
		return n.withoutContainerd()
	}
	return judgeNamespace(n.Config.ContainerdNamespace, n.daemon.Namespaces)
}

func judgeNamespace(ours string, all []containerd.Namespace) answer {
	images := map[string]int{}
	most := ""
	for _, ns := range all {
		images[ns.Name] = ns.Images
		if ns.Name != ours && ns.Images > images[most] {
			most = ns.Name
		}
	}
	set := "set containerd.namespace: %s in the agent's configuration, and restart the agent"
	switch {
	case ours != "k8s.io" && images["k8s.io"] > 0:
		return warn("Kubernetes has %s in the namespace k8s.io, and containerd.namespace is %s, into which shoal pull would pull", plural(images["k8s.io"], "image"), ours).
			do(set, "k8s.io")
	case images[ours] == 0 && most != "":
		return warn("the namespace %s (containerd.namespace) has no images, and %s has %s", ours, most, plural(images[most], "image")).do(set, most)
	}
	return fine("%s, with %s", ours, plural(images[ours], "image"))
}

// hostOf is the address of a URL in hosts.toml.
func hostOf(s string) (scheme, addr string) {
	if !strings.HasPrefix(s, "http") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", s
	}
	if u.Port() == "" {
		port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
		return u.Scheme, fmt.Sprintf("%s:%s", u.Host, port)
	}
	return u.Scheme, u.Host
}
