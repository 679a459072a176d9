package main

import (
	"context"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

const namespace = "default"

// pullTimeout bounds a pull.
const pullTimeout = 10 * time.Minute

// pullAll has all containerds pull an image at once, and returns how long the
// last one took.
func (b *bench) pullAll(ctx context.Context, nodes []*testbed.Node, ref string, through way) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, namespace), pullTimeout)
	defer cancel()
	start := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		all.Go(func() error { return b.pull(ctx, n, ref, through) })
	}
	err := all.Wait()
	return time.Since(start), err
}

// pull is what ctr does, by containerd's transfer service.
func (b *bench) pull(ctx context.Context, n *testbed.Node, ref string, through way) error {
	c, err := client.New(n.Socket())
	if err != nil {
		return err
	}
	defer c.Close()
	from := registry.WithDefaultScheme("http")
	if through.flags != nil {
		from = registry.WithHostDir(n.Certs())
	}
	src, err := registry.NewOCIRegistry(ctx, ref, from)
	if err != nil {
		return err
	}
	here := platforms.DefaultSpec()
	options := []image.StoreOpt{image.WithPlatforms(here)}
	if b.unpack {
		options = append(options, image.WithUnpack(here, ""))
	}
	return c.Transfer(ctx, src, image.NewStore(ref, options...))
}

// remove deletes an image, and waits until its bytes are gone.
func remove(ctx context.Context, nodes []*testbed.Node, ref string) error {
	ctx = namespaces.WithNamespace(ctx, namespace)
	for _, n := range nodes {
		c, err := client.New(n.Socket())
		if err != nil {
			return err
		}
		err = c.ImageService().Delete(ctx, ref, images.SynchronousDelete())
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
