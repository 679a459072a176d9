package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProgramWithShoalInItNamesShoalsVersion(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}
	var v Version
	v.fill(&debug.BuildInfo{
		Main:     debug.Module{Path: "example.org/other", Version: "v9.9.9"},
		Deps:     []*debug.Module{{Path: module, Version: "v1.2.3"}},
		Settings: revision,
	})
	require.Equal(t, Version{Version: "v1.2.3"}, v)
	v = Version{}
	v.fill(&debug.BuildInfo{Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}}})
	require.Zero(t, v)
	v = Version{Version: "v1"}
	v.fill(&debug.BuildInfo{Main: debug.Module{Path: module, Version: "v9"}, Settings: revision})
	require.Equal(t, Version{Version: "v1", Commit: "abc"}, v)
	require.NotEmpty(t, This().Version)
	require.NotEmpty(t, This().Platform)
}
