// Package version is what this build of Shoal knows of itself.
package version

import (
	"runtime"
	"runtime/debug"
)

// Set by the linker in Shoal's own binary.
var (
	number = ""
	commit = ""
)

const module = "github.com/shoal-p2p/shoal"

// Version is what a binary knows of itself.
type Version struct {
	Version  string `json:"version"` // "dev" if nobody has said
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// This is the version of the running binary, or of the Shoal inside it.
func This() Version {
	v := Version{Version: number, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.fill(info)
	}
	if v.Version == "" {
		v.Version = "dev"
	}
	return v
}

// fill adds what the linker was not told. Another program than Shoal knows
// which Shoal is in it, but its commit is its own.
func (v *Version) fill(info *debug.BuildInfo) {
	if info.Main.Path == module {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
		return
	}
	for _, dep := range info.Deps {
		if dep.Path != module || v.Version != "" {
			continue
		}
		if dep.Replace != nil { // by a directory, which has no version, or by another module
			dep = dep.Replace
		}
		v.Version = dep.Version
	}
}
