package install

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// version is that of a containerd, as far as it matters here.
type version struct{ major, minor int }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// parseVersion reads versions such as v2.4.2, 2.0.5+unknown and 1.6.20~ds1.
func parseVersion(s string) (version, error) {
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) >= 2 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil && (major == 1 && minor >= 5 || major == 2) {
			return version{major, minor}, nil
		}
	}
	return version{}, fmt.Errorf("containerd version %q is not known: 1.5 and later have hosts.toml", s)
}

// findVersion asks the containerd of the machine for its version.
func findVersion(ctx context.Context, t *undo.Tree, o Options) (version, error) {
	if o.Version != "" {
		return parseVersion(o.Version)
	}
	out, err := t.Output(ctx, "containerd", o.Binary, "--version")
	if err == nil {
		if fields := strings.Fields(out); len(fields) >= 3 { // containerd MODULE VERSION COMMIT
			return parseVersion(fields[2])
		}
		err = fmt.Errorf("it says %q", out)
	}
	return version{}, fmt.Errorf("no containerd below %s tells its version: name it with --containerd, or its version with --containerd-version (%w)", t.Root(), err)
}
