package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// apt is a package tool for one architecture, with an empty system of its own.
type apt struct {
	config   string
	archives string // where packages are downloaded to
}

// The machine's hooks are for its own packages; its proxy settings stay.
const aptConfig = `#clear APT::Update;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear APT::Keep-Downloaded-Packages;
APT::Architecture "%[1]s";
#clear APT::Architectures;
APT::Architectures { "%[1]s"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::State "%[2]s/state";
Dir::State::status "%[2]s/status";
Dir::Cache "%[2]s/cache";
Dir::Etc::sourcelist "%[3]s";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
`

func newApt(arch, dir string) (*apt, error) {
	sources, err := debianSources()
	if err != nil {
		return nil, err
	}
	a := &apt{config: filepath.Join(dir, "apt.conf"), archives: filepath.Join(dir, "cache", "archives")}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// An empty system: whatever is asked for comes with all its dependencies.
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.config, fmt.Appendf(nil, aptConfig, arch, dir, sources), 0o644)
}

// debianSources is the machine's list of Debian's own archives, and not those of
// third parties, which may lack an architecture.
func debianSources() (string, error) {
	for _, file := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			return file, nil
		}
	}
	return "", errors.New("the image is made from Debian packages, and apt has no list of Debian's archives here")
}

func (a *apt) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-c=" + a.config, "-q", "-y"}, args...)...) //nolint:gosec // of this package
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.Bytes(), nil
}

func (a *apt) update(ctx context.Context) error {
	_, err := a.run(ctx, "update")
	return err
}

// 'http://…/bash_5.2.15-2+b8_amd64.deb' bash_5.2.15-2+b8_amd64.deb 1491 SHA256:…
var printed = regexp.MustCompile(`(?m)^'[^']+' (\S+\.deb) \d+ `)

// closure is the files of the packages and all that they depend on.
func (a *apt) closure(ctx context.Context, packages []string) ([]string, error) {
	// An archive of its own, or what is downloaded already would not be printed.
	empty, err := os.MkdirTemp(filepath.Dir(a.archives), "none")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(empty)
	args := []string{"-o", "Dir::Cache::archives=" + empty, "install", "--print-uris"}
	out, err := a.run(ctx, append(args, packages...)...)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, m := range printed.FindAllSubmatch(out, -1) {
		files = append(files, string(m[1]))
	}
	return files, nil
}

func (a *apt) download(ctx context.Context, packages []string) error {
	_, err := a.run(ctx, append([]string{"install", "--download-only"}, packages...)...)
	return err
}
