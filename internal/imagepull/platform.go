package imagepull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// maxDepth bounds how deep indexes are nested.
const maxDepth = 4

// matcher is what Platform means.
func (o Options) matcher() (platforms.MatchComparer, error) {
	if o.Platform == "" {
		return platforms.Default(), nil
	}
	if o.AllPlatforms {
		return nil, fmt.Errorf("platform %q and all platforms exclude each other", o.Platform)
	}
	p, err := platforms.Parse(o.Platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", o.Platform, err)
	}
	return platforms.Only(p), nil
}

func (o Options) wanted() string { return cmp.Or(o.Platform, platforms.DefaultString()) }

// Check refuses an image that has nothing for the platform.
func (s *Source) Check(ctx context.Context) error {
	if s.o.AllPlatforms && !s.o.Runs {
		return nil
	}
	one := *s
	one.o.AllPlatforms = false
	_, err := one.manifests(ctx, s.Root, 0)
	return err
}

// manifests reads those of the platform: all that an index has, or the one that
// fits best.
func (s *Source) manifests(ctx context.Context, desc ocispec.Descriptor, depth int) ([]ocispec.Manifest, error) {
	if depth > maxDepth {
		return nil, errors.New("its indexes are nested too deep")
	}
	if images.IsManifestType(desc.MediaType) {
		m, err := s.manifest(ctx, desc)
		if err == nil && depth == 0 {
			err = s.fits(ctx, m)
		}
		return []ocispec.Manifest{m}, err
	}
	if !images.IsIndexType(desc.MediaType) {
		return nil, fmt.Errorf("%s is neither a manifest nor an index, but %s", desc.Digest, desc.MediaType)
	}
	var index ocispec.Index
	if err := s.decode(ctx, "index", desc, &index); err != nil {
		return nil, err
	}
	chosen, err := s.choose(ctx, index.Manifests)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Manifest
	for _, c := range chosen {
		below, err := s.manifests(ctx, c, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

func (s *Source) manifest(ctx context.Context, desc ocispec.Descriptor) (m ocispec.Manifest, err error) {
	return m, s.decode(ctx, "manifest", desc, &m)
}

func (s *Source) decode(ctx context.Context, what string, desc ocispec.Descriptor, into any) error {
	body, err := s.get(ctx, what, desc, oci.MaxManifest)
	if err != nil {
		return err
	}
	s.read += int64(len(body))
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s %s: %w", what, desc.Digest, err)
	}
	return nil
}

// fits refuses an image of one manifest for another platform, where that was
// asked for.
func (s *Source) fits(ctx context.Context, m ocispec.Manifest) error {
	if s.o.AllPlatforms || s.o.Platform == "" && !s.o.Runs {
		return nil
	}
	p, err := s.platformOf(ctx, m)
	if err != nil || p == nil || s.one.Match(*p) {
		return err
	}
	return fmt.Errorf("it is for %s alone, not for %s", platforms.Format(*p), s.o.wanted())
}

// platformOf is what the manifest's config says; nil if it says nothing, as that
// of an artifact.
func (s *Source) platformOf(ctx context.Context, m ocispec.Manifest) (*ocispec.Platform, error) {
	if !images.IsConfigType(m.Config.MediaType) {
		return nil, nil
	}
	body, err := s.get(ctx, "config", m.Config, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(body, &config); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	if config.OS == "" || config.Architecture == "" {
		return nil, nil
	}
	p := platforms.Normalize(config.Platform)
	return &p, nil
}

// choose returns all manifests of an index, or the one that fits the platform
// best.
func (s *Source) choose(ctx context.Context, all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if s.o.AllPlatforms {
		return all, nil
	}
	var best *ocispec.Descriptor
	var others []string
	for _, m := range all {
		if m.Platform == nil && images.IsManifestType(m.MediaType) { // its config knows
			manifest, err := s.manifest(ctx, m)
			if err != nil {
				return nil, err
			}
			if m.Platform, err = s.platformOf(ctx, manifest); err != nil {
				return nil, err
			}
		}
		switch {
		case m.Platform == nil || m.Platform.OS == "unknown": // an artifact, or about another manifest
		case !s.one.Match(*m.Platform):
			if name := platforms.Format(*m.Platform); !slices.Contains(others, name) {
				others = append(others, name)
			}
		case best == nil || s.one.Less(*m.Platform, *best.Platform):
			best = &m
		}
	}
	if best != nil {
		return []ocispec.Descriptor{*best}, nil
	}
	if len(others) == 0 {
		return nil, fmt.Errorf("it has no manifest for %s, nor for any other platform", s.o.wanted())
	}
	return nil, fmt.Errorf("it has no manifest for %s, but for %s: see --platform and --all-platforms", s.o.wanted(), strings.Join(others, ", "))
}
