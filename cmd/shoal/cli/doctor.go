package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/cmd/shoal/doctor"
	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/version"
	"github.com/shoal-p2p/shoal/plugin/docker"
)

// Exit codes of doctor.
const (
	exitFailure = 1
	exitUsage   = 2
)

func newDoctor() *cobra.Command {
	var o doctor.Options
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether pulls on this node really go through Shoal, and what to change if not",
		Long: `Checks one after the other whether pulls on this node go through Shoal, and says
what to change where they do not: the agent, its supernode, containerd and its
configuration, the clock, the port for other nodes, the disk, Docker.

With --probe it pulls an image as containerd would, proves by the agent's
counters that its bytes came through Shoal, and takes back what it pulled.

It changes nothing. Give it the configuration that the agent has: the same flags,
environment or --config FILE; what a running agent says of itself goes before.

Marks: ✓ fine, ! a warning, ✗ a failure, – skipped. Exit codes: 0 if no check
failed, 1 if one did, 2 if doctor was called wrongly.`,
		Example: `  shoal doctor --config /etc/shoal/agent.yaml
  shoal doctor --probe docker.io/library/alpine:latest
  shoal doctor --registry registry.example:5000 -o json`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags(), config.Agent)
			if err != nil {
				return usage(err)
			}
			if output != "text" && output != "json" {
				return usage(fmt.Errorf("-o %s is unknown: it is text or json", output))
			}
			if _, err := reference.ParseDockerRef(o.Image); o.Image != "" && err != nil {
				return usage(fmt.Errorf("--probe %q: %w", o.Image, err))
			}
			for _, r := range o.Registries {
				if !config.IsHost(r) {
					return usage(fmt.Errorf("--registry is %q: it is host[:port] as clients name it, without scheme or path", r))
				}
			}
			if o.ProbePatience <= 0 || o.Patience <= 0 {
				return usage(errors.New("--timeout and --check-timeout must be more than 0"))
			}
			o.Config, o.Version, o.Credentials = cfg, version.This().Version, dockerCredentials
			return runDoctor(cmd, o, output)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	flags := cmd.Flags()
	config.AddFlags(flags, config.Agent)
	for _, name := range []string{
		"mirror-default-registry", "mirror-stale-for", "store-max-bytes", "peer-labels", "peer-upload-rate",
		"peer-download-rate", "memory-pieces", "admin-pprof", "shutdown-grace", "log-level", "log-format", "log-path",
	} {
		_ = flags.MarkHidden(name) // nothing that is checked
	}
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry `HOST` that must come through the mirror (repeatable)")
	flags.StringVar(&o.Image, "probe", "", "`IMAGE` to pull, to prove where its bytes come from")
	flags.DurationVar(&o.ProbePatience, "timeout", 2*time.Minute, "how long the probe may take")
	flags.DurationVar(&o.Patience, "check-timeout", 5*time.Second, "how long each other check may take")
	flags.StringVar(&o.ContainerdConfig, "containerd-config", "", "containerd's configuration `file`; the one that it runs with if empty")
	flags.StringArrayVar(&o.HostsDirs, "hosts-dir", nil, "`folder` with hosts.toml files, as given to ctr or nerdctl; containerd's config_path if there is none (repeatable)")
	flags.StringVar(&o.DockerConfig, "docker-config", docker.DefaultConfig, "dockerd's configuration `file`")
	flags.StringVar(&o.DockerSocket, "docker-socket", docker.DefaultSocket, "`socket` at which dockerd listens where it runs")
	flags.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func runDoctor(cmd *cobra.Command, o doctor.Options, output string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer logrus.SetOutput(logrus.StandardLogger().Out)
	logrus.SetOutput(io.Discard) // containerd's library tells of each request that fails
	w := cmd.OutOrStdout()
	tell := func(r doctor.Result) { r.Print(w) }
	if output == "json" {
		tell = func(doctor.Result) {}
	}
	all := doctor.Run(ctx, o, tell)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if output == "json" {
		if err := printJSON(w, all); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(w, "\n"+doctor.Verdict(all))
	}
	if doctor.Failed(all) {
		return &exit{code: exitFailure}
	}
	return nil
}

// exit ends the process with a code. Without an error, all has been said.
func usage(err error) error { return misuse("doctor", err) }
