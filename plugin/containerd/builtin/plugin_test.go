package builtin

import (
	"context"
	"testing"

	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load initialises the plugin in a containerd without any other.
func load(t *testing.T, settings map[string]any) error {
	t.Helper()
	for _, r := range registry.Graph(func(r *plugin.Registration) bool { return r.Type != Type }) {
		require.Equal(t, "io.shoal.v1.agent", r.URI())
		ic := plugin.NewContext(context.Background(), plugin.NewPluginSet(), nil)
		ic.Config = &settings
		instance, err := r.Init(ic).Instance()
		require.Nil(t, instance)
		return err
	}
	require.Fail(t, "the plugin is not registered")
	return nil
}

func TestWithoutConfigurationThePluginStaysOut(t *testing.T) {
	require.True(t, plugin.IsSkipPlugin(load(t, nil)))
	require.True(t, plugin.IsSkipPlugin(load(t, map[string]any{})))
}

func TestMistakesInTheSectionAreNamed(t *testing.T) {
	for want, settings := range map[string]map[string]any{
		`unknown key "supernode"`:          {"supernode": "a"},
		"store.kind is not for the plugin": {"store": map[string]any{"kind": "local"}},
		"services":                         {"supernodes": []any{"a"}}, // of a containerd that has none
	} {
		err := load(t, settings)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "shoal")
		require.False(t, plugin.IsSkipPlugin(err))
	}
}
