// Command demo shows what Shoal does: a registry, a supernode and nodes with a
// real containerd each, in network namespaces of this machine; all nodes pull
// the same image at once, and run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"github.com/shoal-p2p/shoal/integration/debimage"
	"github.com/shoal-p2p/shoal/integration/testbed"
)

func main() {
	nodes := flag.Int("nodes", 3, "nodes that pull")
	flag.Parse()
	logrus.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *nodes)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything has been cleaned up")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

const image = testbed.Registry + "/demo/debian:latest"

// say prints what is happening now.
func say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func run(ctx context.Context, nodes int) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run it with sudo")
	}
	if nodes < 1 || nodes > 100 {
		return fmt.Errorf("-nodes %d: it is 1 to 100", nodes)
	}
	fmt.Printf("\nShoal: %d nodes pull one image at once\n\n", nodes)
	say("making an image of Debian packages (kept in .cache for the next time)")
	layout, err := debimage.Layout(ctx, filepath.Join(".cache", "debimage"))
	if err != nil {
		return err
	}
	index, err := debimage.Index(layout)
	if err != nil {
		return err
	}
	shoal, err := filepath.Abs("bin/shoal")
	if err != nil {
		return err
	}
	containerd, err := filepath.Abs(".cache/bin")
	if err != nil {
		return err
	}
	say("starting a registry, a supernode, and %d nodes with an agent and a containerd each", nodes)
	c, err := testbed.New(ctx, testbed.Options{Shoal: shoal, Nodes: nodes, Containerd: containerd})
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return err
	}
	say("pushing the image to the registry")
	if err := push(ctx, c, index); err != nil {
		return err
	}
	size, layers, err := sizeOf(index, "amd64")
	if err != nil {
		return err
	}
	say("pulling %s (%d layers, %.0f MiB compressed) on all nodes at once", image, layers, mib(size))
	seconds, err := pullAll(ctx, c)
	if err != nil {
		return err
	}
	say("running a container from it on each node")
	for _, n := range c.Nodes {
		if _, err := n.RunContainer(ctx, image, fmt.Sprintf("demo-%d-%s", os.Getpid(), n.Name), "/bin/sh", "-c", "exit 0"); err != nil {
			return err
		}
	}
	return report(ctx, c, size, seconds)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func push(ctx context.Context, c *testbed.Cluster, index v1.ImageIndex) error {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return err
	}
	return remote.WriteIndex(ref, index, remote.WithTransport(c.Upstream.Transport()), remote.WithContext(ctx))
}

// sizeOf sums up config and layers of a platform.
func sizeOf(index v1.ImageIndex, arch string) (size int64, layers int, err error) {
	m, err := index.IndexManifest()
	if err != nil {
		return 0, 0, err
	}
	for _, d := range m.Manifests {
		if d.Platform == nil || d.Platform.Architecture != arch {
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return 0, 0, err
		}
		manifest, err := img.Manifest()
		if err != nil {
			return 0, 0, err
		}
		size = manifest.Config.Size
		for _, l := range manifest.Layers {
			size += l.Size
		}
		return size, len(manifest.Layers), nil
	}
	return 0, 0, fmt.Errorf("the image has no platform %s", arch)
}

func pullAll(ctx context.Context, c *testbed.Cluster) ([]float64, error) {
	seconds, errs := make([]float64, len(c.Nodes)), make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() {
			start := time.Now()
			errs[i] = n.Pull(ctx, image)
			seconds[i] = time.Since(start).Seconds()
		})
	}
	wg.Wait()
	return seconds, errors.Join(errs...)
}
