package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/p2p"
)

// shoal runs a command line and returns what it prints.
func shoal(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := New()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestVersionSaysWhatItIs(t *testing.T) {
	out, err := shoal("version")
	require.NoError(t, err)
	require.Contains(t, out, "shoal dev")
	out, err = shoal("version", "-o", "json")
	require.NoError(t, err)
	var v version.Version
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	require.NotEmpty(t, v.Go)
	_, err = shoal("version", "-o", "xml")
	require.ErrorContains(t, err, "text or json")
}

func TestStatusShowsPeersAndBytes(t *testing.T) {
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(agent.Status{
			Mirror: "127.0.0.1:65001",
			Store:  agent.StoreInfo{Kind: "local", Dir: "/data"},
			Node: p2p.Status{
				ID: "me", Supernode: &p2p.SupernodeStatus{Address: "sn:8002", Connected: true},
				Bytes: map[string]int64{"peer": 3 << 20, "supernode": 512},
				Peers: []p2p.PeerStatus{{ID: "other", Address: "10.0.0.2:65002", Tasks: 1}},
				Tasks: []p2p.TaskStatus{{Digest: "sha256:0123456789abcdef", Size: 5 << 30, Pieces: 10, Held: 4, State: "filling"}},
			},
		})
	}))
	defer running.Close()
	out, err := shoal("status", "--admin", strings.TrimPrefix(running.URL, "http://"))
	require.NoError(t, err)
	for _, want := range []string{"sn:8002", "connected", "3.0 MiB", "512 B", "10.0.0.2:65002", "sha256:0123456789ab", "5.00 GiB", "4/10", "filling"} {
		require.Contains(t, out, want)
	}
}

func TestWithoutAnAgentTheNextStepIsNamed(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"pull", "alpine"}} {
		_, err := shoal(append(args, "--admin", "127.0.0.1:1")...)
		require.ErrorContains(t, err, `start "shoal up" or "shoal agent"`)
	}
	_, err := shoal("pull", "Not A Name")
	require.ErrorContains(t, err, "Not A Name")
}

func TestTheReferencesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	_, err := shoal("docs", dir)
	require.NoError(t, err)
	for _, name := range []string{"cli.md", "config.md"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("../../../docs", name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "docs/%s is not current: run make generate", name)
	}
}

// The README's commands must at least be ones that exist.
func TestTheReadmeNamesCommandsAndTargetsThatExist(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	makefile, err := os.ReadFile("../../../Makefile")
	require.NoError(t, err)
	checked := 0
	for _, line := range strings.Split(string(readme), "\n") {
		fields := strings.Fields(strings.TrimPrefix(line, "bin/"))
		switch {
		case len(fields) >= 2 && fields[0] == "make":
			require.Contains(t, string(makefile), "\n"+fields[1]+":", line)
		case len(fields) >= 2 && fields[0] == "shoal":
			cmd, rest, err := New().Find(fields[1:])
			require.NoError(t, err, line)
			require.NoError(t, cmd.ParseFlags(rest), line)
		default:
			continue
		}
		checked++
	}
	require.GreaterOrEqual(t, checked, 5)
}
