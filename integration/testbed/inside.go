package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildInside builds a containerd with the agent inside, from the module in
// source (contrib/containerd), into dir, which is then one for
// Options.Containerd. The other programs are those of the folder containerd.
func BuildInside(ctx context.Context, source, containerd, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "containerd"), ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s cannot be built: %w\n%s", source, err, out)
	}
	containerd, err := filepath.Abs(containerd)
	if err != nil {
		return err
	}
	for _, name := range []string{"ctr", "containerd-shim-runc-v2"} {
		if err := os.Symlink(filepath.Join(containerd, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
