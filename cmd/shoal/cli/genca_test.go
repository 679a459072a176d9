package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/config"
)

func TestGenCATellsWhatToDoNext(t *testing.T) {
	t.Chdir(t.TempDir())
	out, err := shoal("gen-ca", "--out", "new", "--name-constraint", "10.0.0.1", "--name-constraint", "Files.test", "--name-constraint", "other.test")
	require.NoError(t, err)
	dir, err := filepath.Abs("new")
	require.NoError(t, err)
	require.Contains(t, out, "cp "+dir+"/ca.crt /usr/local/share/ca-certificates/")
	require.Contains(t, out, "Restart dockerd")
	info, err := os.Stat("new/ca.key")
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	// What it prints is a configuration that an agent takes.
	_, text, _ := strings.Cut(out, "open:\n")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimPrefix(line, "  "))
	}
	require.NoError(t, os.WriteFile("shoal.yaml", []byte(strings.Join(lines, "")), 0o600))
	flags := newAgent().Flags()
	require.NoError(t, flags.Parse([]string{"--config", "shoal.yaml"}))
	cfg, err := config.Load(flags, config.Agent)
	require.NoError(t, err)
	require.Equal(t, dir+"/ca.key", cfg.HijackKey)
	require.True(t, cfg.HijackHosts[0].Regex.MatchString("files.test:443"))
	require.True(t, cfg.ProxyRules[0].Regex.MatchString("https://files.test/v2/"))
	out, err = shoal("gen-ca", "--out", "any")
	require.NoError(t, err)
	require.Contains(t, out, `- regex: ^registry\.example:443$`)

	_, err = shoal("gen-ca", "--out", "new")
	require.ErrorContains(t, err, "exists")
	_, err = shoal("gen-ca")
	require.ErrorContains(t, err, "--out DIR")
	_, err = shoal("gen-ca", "--out", "x", "--days", "0")
	require.ErrorContains(t, err, "--days is 0")
	_, err = shoal("gen-ca", "--out", "x", "--name-constraint", "a b")
	require.ErrorContains(t, err, `name constraint "a b"`)
	require.NoFileExists(t, "x/ca.key")
}
