package debimage

import "slices"

// Media types of layers, by how they are compressed.
const (
	gzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip"
	zstdLayer = "application/vnd.oci.image.layer.v1.tar+zstd"
)

// layer is one of the image's, from the bottom up.
type layer struct {
	title     string
	mediaType string
	packages  []string
	archs     []string // that have it
}

var (
	all   = []string{"amd64", "arm64"}
	amd64 = []string{"amd64"}
)

// recipe is the image. Names without a version, so that it is the same on every
// release of Debian.
var recipe = []layer{
	{"the base system", gzipLayer, []string{
		"base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "findutils",
		"grep", "gzip", "hostname", "libc-bin", "sed", "tar", "util-linux", "ca-certificates",
	}, all},
	{"Python and Perl", zstdLayer, []string{"python3", "perl"}, all},
	{"a C compiler", gzipLayer, []string{"gcc", "libc6-dev", "make"}, all},
	{"a Java runtime", gzipLayer, []string{"default-jre-headless"}, amd64},
	{"LLVM", gzipLayer, []string{"clang"}, amd64},
	{"a database", gzipLayer, []string{"postgresql"}, amd64},
}

// layersFor is the part of the recipe for an architecture.
func layersFor(arch string) []layer {
	return slices.DeleteFunc(slices.Clone(recipe), func(l layer) bool { return !slices.Contains(l.archs, arch) })
}
