//go:build e2e

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/integration/testbed"
)

// verdict is what shoal doctor says of a node, and its exit code.
func verdict(t *testing.T, n *testbed.Node, args ...string) (map[string]string, int) {
	t.Helper()
	args = append([]string{"doctor", "-o", "json", "--check-timeout", "1m", "--plain-http", testbed.Registry}, args...)
	cmd := n.Command(t.Context(), "../bin/shoal", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil {
		require.ErrorAs(t, err, &ended)
	}
	var all []struct{ Name, Status, Detail, Fix string }
	require.NoError(t, json.Unmarshal(out.Bytes(), &all), "%s", said.String())
	t.Logf("%s", out.String())
	found := map[string]string{}
	for _, r := range all {
		found[r.Name] = r.Status
		if r.Status == "failure" {
			require.NotEmpty(t, r.Fix, r.Name)
		}
	}
	return found, cmd.ProcessState.ExitCode()
}

// TestDoctorOnACluster breaks a node part by part.
func TestDoctorOnACluster(t *testing.T) {
	for version, bin := range containerds(t) {
		t.Run(version, func(t *testing.T) {
			c, _ := build(t, testbed.Options{Nodes: 2, Containerd: bin}, 2, 2*mib)
			n := c.Nodes[0]
			certs := []string{"--hosts-dir", n.Certs()}
			found, code := verdict(t, n, append(certs, "--probe", image)...)
			require.Zero(t, code, found)
			for _, name := range []string{"agent", "supernode", "containerd", "content path", "hosts.toml", "namespace", "clock", "peer port", "probe"} {
				require.Equal(t, "ok", found[name], name)
			}

			require.NoError(t, n.Pull(t.Context(), image))
			found, code = verdict(t, n, append(certs, "--probe", image)...)
			require.Zero(t, code, found)
			require.Equal(t, "warning", found["probe"], "it is here already")

			found, code = verdict(t, n, "--hosts-dir", t.TempDir(), "--probe", image)
			require.Equal(t, 1, code)
			require.Equal(t, "failure", found["hosts.toml"])
			require.Equal(t, "skipped", found["probe"])

			c.Supernode.Kill()
			found, code = verdict(t, n, certs...)
			require.Equal(t, 1, code)
			require.Equal(t, "failure", found["supernode"])
			require.Equal(t, "skipped", found["peer port"])

			n.Agent.Kill()
			found, code = verdict(t, n, append(certs, "--probe", image)...)
			require.Equal(t, 1, code)
			require.Equal(t, "failure", found["agent"])
			require.Equal(t, "skipped", found["probe"])

			err := n.Command(t.Context(), "../bin/shoal", "doctor", "--nonsense").Run()
			var ended *exec.ExitError
			require.True(t, errors.As(err, &ended))
			require.Equal(t, 2, ended.ExitCode())
		})
	}
}

// TestDoctorReadsWhatContainerdReads has a containerd whose files lie in a mount
// namespace of its own, with the configurations that CRI has.
func TestDoctorReadsWhatContainerdReads(t *testing.T) {
	versions := containerds(t)
	versions["containerd 1.7"] = between(t) // makes its content store with the first image
	for version, bin := range versions {
		t.Run(version, func(t *testing.T) {
			m, mirror := newMachine(t, bin), newMirror(t)
			m.write(t, "etc/containerd/config.toml", kubeadm)
			m.start(t)
			examine := func() (status, detail string) {
				out, _ := exec.CommandContext(t.Context(), "../bin/shoal", "doctor", "-o", "json", "--check-timeout", "1m",
					"--admin-listen", "127.0.0.1:1", "--mirror-listen", mirror.Host(), "--store-kind", "containerd",
					"--containerd-address", m.at("run/containerd.sock"),
					"--containerd-content-path", m.at("data/io.containerd.content.v1.content")).Output()
				var all []struct{ Name, Status, Detail, Fix string }
				require.NoError(t, json.Unmarshal(out, &all), "%s", out)
				for _, r := range all {
					if r.Name == "content path" {
						require.Equal(t, "ok", r.Status, r.Detail)
					}
					if r.Name == "hosts.toml" {
						status, detail = r.Status, r.Detail+"\n"+r.Fix
					}
				}
				return status, detail
			}
			status, detail := examine()
			require.Equal(t, "failure", status, detail)
			require.Contains(t, detail, "config_path")
			require.Contains(t, detail, "shoal install containerd")

			m.install(t, mirror.URL)
			config, now := m.at("etc/containerd/config.toml"), time.Now()
			require.NoError(t, os.Chtimes(config, now, now.Add(time.Minute))) // files' times and a start's are seconds apart at best
			status, detail = examine()
			require.Equal(t, "warning", status, detail)
			require.Contains(t, detail, "systemctl restart containerd", "it has not read the change")

			require.NoError(t, os.Chtimes(config, now, now))
			m.start(t)
			status, detail = examine()
			require.Equal(t, "ok", status, detail)
		})
	}
}
