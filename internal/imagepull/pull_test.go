package imagepull

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-p2p/shoal/internal/registrytest"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// upstream plays the mirror, which shows every registry.
type upstream struct {
	*registrytest.Registry
	t *testing.T
}

func newUpstream(t *testing.T) *upstream {
	return &upstream{registrytest.New(t), t}
}

// image pushes an image for a platform, "" for none, with a layer of size bytes.
// The descriptor has no platform.
func (u *upstream) image(tag, platform string, size int) ocispec.Descriptor {
	u.t.Helper()
	config := []byte(`{}`)
	if platform != "" {
		body, err := json.Marshal(ocispec.Image{Platform: platforms.MustParse(platform)})
		require.NoError(u.t, err)
		config = body
	}
	layer := registrytest.Bytes(uint64(size), size)
	dgst, body := u.PushImage("app", tag, [][]byte{layer}, func(m *ocispec.Manifest) {
		m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: u.PushBlob("app", config), Size: int64(len(config))}
	})
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: dgst, Size: int64(len(body))}
}

// of says in an index that a manifest is for a platform.
func of(desc ocispec.Descriptor, platform ocispec.Platform) ocispec.Descriptor {
	desc.Platform = &platform
	return desc
}

func (u *upstream) index(tag string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	u.t.Helper()
	body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
	require.NoError(u.t, err)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: u.PushManifest("app", tag, ocispec.MediaTypeImageIndex, body), Size: int64(len(body))}
}

// pull pulls app:tag, and returns how many bytes of each part came.
func (u *upstream) pull(tag string, o Options) (Image, map[digest.Digest]int64, error) {
	u.t.Helper()
	named, err := reference.ParseDockerRef("registry.example/app:" + tag)
	require.NoError(u.t, err)
	var mu sync.Mutex
	came := map[digest.Digest]int64{}
	o.Mirror = u.Host()
	o.Progress = func(desc ocispec.Descriptor, offset int64) {
		mu.Lock()
		defer mu.Unlock()
		came[desc.Digest] = offset
	}
	image, err := Pull(u.t.Context(), named, o)
	return image, came, err
}

func (u *upstream) source(tag string, o Options) (*Source, error) {
	u.t.Helper()
	named, err := reference.ParseDockerRef("registry.example/app:" + tag)
	require.NoError(u.t, err)
	o.Mirror = u.Host()
	s, err := Open(u.t.Context(), named, o)
	if err == nil {
		u.t.Cleanup(s.Close)
	}
	return s, err
}

var (
	here    = platforms.DefaultSpec()
	riscv   = ocispec.Platform{OS: "linux", Architecture: "riscv64"}
	windows = ocispec.Platform{OS: "windows", Architecture: "amd64"}
	unknown = ocispec.Platform{OS: "unknown", Architecture: "unknown"}
)

// several is an image for this machine (layer of 1,000 bytes), riscv64 (2,000)
// and Windows (3,000), with an attestation (4,000).
func (u *upstream) several(tag string) {
	u.index(tag,
		of(u.image("", "windows/amd64", 3000), windows),
		of(u.image("", platforms.Format(here), 1000), here),
		of(u.image("", "linux/riscv64", 2000), riscv),
		of(u.image("", "", 4000), unknown))
}

// layers are the sizes of the layers among parts.
func layers(came map[digest.Digest]int64) (sizes []int64) {
	for _, n := range came {
		if n >= 1000 {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

func TestThePlatformChoosesAmongAnIndex(t *testing.T) {
	u := newUpstream(t)
	u.several("v1")
	for platform, want := range map[string]int64{"": 1000, "linux/riscv64": 2000, "windows/amd64": 3000} {
		image, came, err := u.pull("v1", Options{Platform: platform})
		require.NoError(t, err, platform)
		require.Equal(t, []int64{want}, layers(came), platform)
		require.Len(t, came, 2, "config and layer")
		var parts int64
		for _, n := range came {
			parts += n
		}
		require.Greater(t, image.Size, parts, "the manifests count too")
	}
	for _, q := range u.Requests("manifests|blobs") {
		require.Equal(t, "ns=registry.example", q.Query)
	}
	image, came, err := u.pull("v1", Options{AllPlatforms: true})
	require.NoError(t, err)
	require.ElementsMatch(t, []int64{1000, 2000, 3000, 4000}, layers(came))
	require.Greater(t, image.Size, int64(10_000))
}

func TestAPlatformThatIsNotThereIsRefusedAndTheOthersAreNamed(t *testing.T) {
	u := newUpstream(t)
	u.index("v1", of(u.image("", "linux/riscv64", 2000), riscv), of(u.image("", "windows/amd64", 3000), windows), of(u.image("", "", 4000), unknown))
	for _, o := range []Options{{}, {Platform: "linux/s390x"}} {
		_, came, err := u.pull("v1", o)
		require.ErrorContains(t, err, "it has no manifest for "+o.wanted()+", but for linux/riscv64, windows/amd64: ")
		require.Empty(t, came)
		s, err := u.source("v1", o)
		require.NoError(t, err)
		require.ErrorContains(t, s.Check(t.Context()), "no manifest for "+o.wanted())
	}
	u.index("attested", of(u.image("", "", 4000), unknown))
	_, _, err := u.pull("attested", Options{})
	require.ErrorContains(t, err, "nor for any other platform")
}

func TestAnImageOfOneManifestIsRefusedOnlyWhereItsPlatformMatters(t *testing.T) {
	u := newUpstream(t)
	u.image("riscv", "linux/riscv64", 1000)
	u.image("here", platforms.Format(here), 2000)
	u.image("artifact", "", 3000)
	const alone = "it is for linux/riscv64 alone, not for "
	for _, c := range []struct {
		tag  string
		o    Options
		want string // of the error
	}{
		{"riscv", Options{}, ""},
		{"riscv", Options{Platform: "linux/riscv64"}, ""},
		{"riscv", Options{Platform: "linux/s390x"}, alone + "linux/s390x"},
		{"riscv", Options{Runs: true}, alone + platforms.DefaultString()},
		{"riscv", Options{Platform: "linux/riscv64", Runs: true}, ""},
		{"riscv", Options{AllPlatforms: true}, ""},
		{"here", Options{Runs: true}, ""},
		{"artifact", Options{Platform: "linux/s390x"}, ""},
	} {
		_, came, err := u.pull(c.tag, c.o)
		s, serr := u.source(c.tag, c.o)
		require.NoError(t, serr)
		checked := s.Check(t.Context())
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, checked, c.want)
			require.Empty(t, came, "no part is fetched for nothing")
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.NoError(t, checked, "%+v", c)
		require.Len(t, came, 2)
	}
}

func TestAllPlatformsToBeRunMustHaveOneForThisMachine(t *testing.T) {
	u := newUpstream(t)
	u.index("foreign", of(u.image("", "linux/riscv64", 2000), riscv))
	u.several("v1")
	for tag, want := range map[string]string{"foreign": "no manifest for " + platforms.DefaultString(), "v1": ""} {
		s, err := u.source(tag, Options{AllPlatforms: true, Runs: true})
		require.NoError(t, err)
		err = s.Check(t.Context())
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	_, err := u.source("v1", Options{AllPlatforms: true, Platform: "linux/s390x"})
	require.ErrorContains(t, err, "exclude each other")
	_, err = u.source("v1", Options{Platform: "a/b/c/d"})
	require.ErrorContains(t, err, `platform "a/b/c/d"`)
}

func TestManifestsWithoutAPlatformHaveThatOfTheirConfig(t *testing.T) {
	u := newUpstream(t)
	u.index("v1", u.image("", "linux/riscv64", 2000), u.image("", platforms.Format(here), 1000))
	for platform, want := range map[string]int64{"": 1000, "linux/riscv64": 2000} {
		_, came, err := u.pull("v1", Options{Platform: platform})
		require.NoError(t, err)
		require.Equal(t, []int64{want}, layers(came))
	}
}

func TestIndexesAreFollowedButNotForever(t *testing.T) {
	u := newUpstream(t)
	desc := of(u.image("", platforms.Format(here), 1000), here)
	for range maxDepth {
		desc = of(u.index("", desc), here)
	}
	u.index("deep", desc)
	_, _, err := u.pull("deep", Options{})
	require.ErrorContains(t, err, "nested too deep")
	u.index("nested", of(u.index("", of(u.image("", platforms.Format(here), 1000), here)), here))
	_, came, err := u.pull("nested", Options{})
	require.NoError(t, err)
	require.Equal(t, []int64{1000}, layers(came))
}

func TestASourceStaysWhatItsTagWas(t *testing.T) {
	u := newUpstream(t)
	before := u.image("v1", "", 1000)
	s, err := u.source("v1", Options{})
	require.NoError(t, err)
	u.image("v1", "", 2000)
	name, desc, err := s.Resolve(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "registry.example/app:v1", name)
	require.Equal(t, before.Digest, desc.Digest)
}

func TestPartsWithTheSameDigestAreReadOnce(t *testing.T) {
	u := newUpstream(t)
	layer := registrytest.Bytes(1, 1000)
	u.PushImage("app", "twice", [][]byte{layer, layer})
	image, came, err := u.pull("twice", Options{})
	require.NoError(t, err)
	require.Len(t, came, 2)
	require.Len(t, u.Requests("GET .*/blobs/"), 2)
	require.Less(t, image.Size, int64(2000))
}

func TestCredentialsGoToTheMirror(t *testing.T) {
	u := newUpstream(t)
	u.image("v1", "", 1000)
	u.RequireBasic("ann", "secret")
	_, _, err := u.pull("v1", Options{})
	require.Error(t, err)
	_, _, err = u.pull("v1", Options{Credentials: func(registry string) (string, string, error) {
		require.Equal(t, "registry.example", registry)
		return "ann", "secret", nil
	}})
	require.NoError(t, err)
	sad := errors.New("no keychain")
	_, _, err = u.pull("v1", Options{Credentials: func(string) (string, string, error) { return "", "", sad }})
	require.ErrorIs(t, err, sad)
}

func TestTheMirrorIsNotToldThatContainerdPulls(t *testing.T) {
	u := newUpstream(t)
	u.image("1", "linux/amd64", 1000)
	_, _, err := u.pull("1", Options{})
	require.NoError(t, err)
	require.NotEmpty(t, u.Requests("GET .*/manifests/"))
	for _, q := range u.Requests("") {
		require.Regexp(t, "^shoal/", q.Header.Get("User-Agent"), q.Path)
	}
}

func TestWrongBytesAreNoImage(t *testing.T) {
	u := newUpstream(t)
	u.image("v1", platforms.Format(here), 1000)
	for name, c := range map[string]struct {
		harm registrytest.Harm
		o    Options
		want string
	}{
		"wrong layer":    {registrytest.Harm{Only: registrytest.Blobs, Wrong: 1}, Options{}, "came with wrong bytes"},
		"wrong config":   {registrytest.Harm{Only: registrytest.Blobs, Wrong: 1}, Options{Runs: true}, "config sha256:"},
		"wrong manifest": {registrytest.Harm{Only: registrytest.Manifests, Wrong: 1}, Options{}, "manifest sha256:"},
		"no manifest":    {registrytest.Harm{Only: registrytest.Manifests, Status: 404}, Options{}, "not found"},
		"no blob":        {registrytest.Harm{Only: registrytest.Blobs, Status: 403}, Options{}, "403"},
	} {
		u.Do(c.harm)
		_, _, err := u.pull("v1", c.o)
		require.ErrorContains(t, err, c.want, name)
	}
	u.Do(registrytest.Harm{})
	_, _, err := u.pull("v1", Options{})
	require.NoError(t, err)

	u.PushImage("app", "odd", [][]byte{registrytest.Bytes(7, 1000)}, func(m *ocispec.Manifest) { m.Layers[0].Size-- })
	_, _, err = u.pull("odd", Options{})
	require.ErrorContains(t, err, "read past expected size", "a part that is larger than its manifest says")
}

func TestWhatIsNoImageIsNamed(t *testing.T) {
	u := newUpstream(t)
	odd := of(u.image("", "", 10), here)
	odd.MediaType = "text/plain"
	u.index("v1", odd)
	_, _, err := u.pull("v1", Options{})
	require.ErrorContains(t, err, "neither a manifest nor an index, but text/plain")
	large := of(u.image("", "", 10), here)
	large.Size = 1 << 40
	u.index("large", large)
	_, _, err = u.pull("large", Options{})
	require.ErrorContains(t, err, "more than")
	require.True(t, strings.Contains(err.Error(), large.Digest.String()))
}
