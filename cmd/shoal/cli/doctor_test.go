package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/cmd/shoal/doctor"
)

// examine runs doctor on a machine without containerd and Docker, and returns
// its exit code.
func examine(t *testing.T, args ...string) (string, int) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	out, err := run(t, append([]string{
		"doctor", "--check-timeout", "1m", "--containerd-address", none, "--docker-config", none, "--docker-socket", none,
		"--store-dir", t.TempDir(),
	}, args...)...)
	var e *exit
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &e):
		return out + err.Error(), e.code
	}
	return out + err.Error(), 1
}

func TestDoctorEndsWithACodeForEachCase(t *testing.T) {
	out, code := examine(t, "--admin-listen", "127.0.0.1:1")
	require.Equal(t, exitFailure, code)
	require.Contains(t, out, "✗ agent ")
	require.Contains(t, out, "→ start it: shoal agent")
	require.Contains(t, out, "1 failure (1 warning)")

	out, code = examine(t, "--admin-listen", "127.0.0.1:1", "-o", "json")
	require.Equal(t, exitFailure, code)
	var all []doctor.Result
	require.NoError(t, json.NewDecoder(strings.NewReader(out)).Decode(&all))
	require.Equal(t, "agent", all[0].Name)
	require.Equal(t, doctor.Failure, all[0].Status)
	require.Len(t, all, 13)

	broken := filepath.Join(t.TempDir(), "shoal.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("mirror: {listn: x}\n"), 0o600))
	for _, args := range [][]string{
		{"-o", "xml"},
		{"--nonsense"},
		{"more"},
		{"--probe", "Not A Name"},
		{"--registry", "https://registry.test/x"},
		{"--registry", "registry.test:99999"},
		{"--registry", ""},
		{"--timeout", "0s"},
		{"--timeout", "soon"},
		{"--config", broken},
		{"--store-kind", "other"},
	} {
		out, code := examine(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, out)
		require.Contains(t, out, "shoal doctor --help", "%v", args)
	}
}

func TestDoctorFindsAgentsAndSupernodes(t *testing.T) {
	listen, admin := freeAddr(t), freeAddr(t)
	p := start(t, "up", "--listen", listen, "--mirror-listen", freeAddr(t), "--admin-listen", admin, "--data-dir", t.TempDir())
	p.until(t, "Stop with Ctrl-C")
	out, code := examine(t, "--admin-listen", admin)
	require.Zero(t, code, out)
	require.Contains(t, out, "shoal up")
	require.Contains(t, out, "--probe IMAGE")

	agent, peers := freeAddr(t), freeAddr(t)
	a := start(t, "agent", "--supernodes", listen, "--mirror-listen", freeAddr(t), "--admin-listen", agent, "--peer-listen", peers, "--data-dir", t.TempDir())
	a.until(t, "connected to the supernode")
	out, code = examine(t, "--admin-listen", agent)
	require.Zero(t, code, out)
	require.Contains(t, out, listen+" answers, the agent is connected to it; 1 agent in all")
	require.Contains(t, out, "this node is at "+peers)

	out, code = examine(t, "--admin-listen", listen)
	require.Zero(t, code, "shoal up answers at both of its addresses: %s", out)
}
