package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// Description is what a running containerd tells of itself.
type Description struct {
	Version string
	// ContentPath is the directory of its content store, as it sees it; "" if
	// it does not tell.
	ContentPath string
	Namespaces  []Namespace
	Process     Process
}

// Namespace is one of containerd's.
type Namespace struct {
	Name   string
	Images int
}

// Describe asks containerd what it is.
func (s *Store) Describe(ctx context.Context) (Description, error) {
	ctx = namespaces.WithNamespace(ctx, s.cfg.Namespace)
	names, err := s.client.NamespaceService().List(ctx)
	if err != nil {
		return Description{}, s.explain("namespaces cannot be listed", err)
	}
	v, err := s.client.Version(ctx)
	if err != nil {
		return Description{}, s.explain("no answer", err)
	}
	d := Description{Version: v.Version}
	stores, err := s.client.IntrospectionService().Plugins(ctx, "type==io.containerd.content.v1,id==content")
	if err != nil {
		return d, s.explain("plugins cannot be listed", err)
	}
	for _, p := range stores.Plugins {
		d.ContentPath = p.Exports["root"]
	}
	for _, name := range names {
		images, err := s.client.ImageService().List(namespaces.WithNamespace(ctx, name))
		if err != nil {
			return d, s.explain("images of namespace "+name+" cannot be listed", err)
		}
		d.Namespaces = append(d.Namespaces, Namespace{Name: name, Images: len(images)})
	}
	if d.Process, err = processAt(ctx, s.cfg.Address); err != nil {
		return d, fmt.Errorf("store containerd at %s: %w", s.cfg.Address, err)
	}
	return d, nil
}
