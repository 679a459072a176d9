package install

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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

// findVersion asks the containerd below root for its version.
func findVersion(ctx context.Context, o Options) (version, error) {
	if o.Version != "" {
		return parseVersion(o.Version)
	}
	binaries := []string{o.Binary}
	if o.Binary == "" {
		for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/opt/bin"} {
			binaries = append(binaries, filepath.Join(o.Root, dir, "containerd"))
		}
		if o.Root == "/" {
			binaries[0] = "containerd"
		}
	}
	var err error
	for _, b := range binaries {
		if b == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, e := exec.CommandContext(ctx, b, "--version").Output() //nolint:gosec // the operator's
		cancel()
		if fields := strings.Fields(string(out)); e == nil && len(fields) >= 3 { // containerd MODULE VERSION COMMIT
			return parseVersion(fields[2])
		}
		err = errors.Join(err, e)
	}
	return version{}, fmt.Errorf("no containerd below %s tells its version: name it with --containerd, or its version with --containerd-version (%w)", o.Root, err)
}
