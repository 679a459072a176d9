package cli

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/internal/config"
	"github.com/shoal-p2p/shoal/internal/undo"
	"github.com/shoal-p2p/shoal/plugin/containerd/install"
	"github.com/shoal-p2p/shoal/plugin/docker"
)

func newInstall() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make a container runtime of this machine pull through the agent",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errNoRuntime },
	}
	cmd.AddCommand(newInstallContainerd(), newInstallDocker())
	return cmd
}

func newUninstall() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take back what install did",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errNoRuntime },
	}
	cmd.AddCommand(newUninstallContainerd(), newUninstallDocker())
	return cmd
}

var errNoRuntime = errors.New("name the container runtime: containerd or docker")

func newInstallContainerd() *cobra.Command {
	var o install.Options
	cmd := &cobra.Command{
		Use:   "containerd",
		Short: "Make the containerd of this machine, or k3s or RKE2, pull through the agent",
		Long: `Makes the containerd of this machine pull through the agent's mirror. containerd
goes to the registry itself where the mirror does not answer.

It writes hosts.toml files below containerd's config_path: _default for all
registries, and those that have a folder of their own; or only the registries
that --registry names. What is configured there stays, behind the mirror. It
sets config_path where containerd needs that, which then has to be restarted.
For k3s and RKE2 it writes registries.yaml instead.

Installing again changes nothing, or moves what is installed to another mirror;
registries add up. "shoal uninstall containerd" gives back what was there.`,
		Example: `  shoal install containerd --dry-run
  shoal install containerd --registry docker.io --registry registry.example:5000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mirrorOf(cmd, &o.Mirror); err != nil {
				return err
			}
			r, err := install.Install(cmd.Context(), o)
			return report(cmd.OutOrStdout(), r, err, o.DryRun)
		},
	}
	flags := cmd.Flags()
	addMirrorFlags(cmd, &o.Mirror)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry `HOST` to pull through the mirror (repeatable); all if none is named")
	flags.StringVar(&o.Distribution, "distribution", "", "what runs containerd: containerd, k3s or rke2; whichever is there if empty")
	flags.StringVar(&o.Config, "containerd-config", "/etc/containerd/config.toml", "containerd's configuration `file`")
	flags.StringVar(&o.Binary, "containerd", "", "`path` of containerd, to ask for its version; looked for if empty")
	flags.StringVar(&o.Version, "containerd-version", "", "version of containerd, instead of asking it")
	addRootFlags(cmd, &o.Root, &o.DryRun)
	return cmd
}

func newInstallDocker() *cobra.Command {
	var o docker.Options
	cmd := &cobra.Command{
		Use:   "docker",
		Short: "Make the dockerd of this machine pull through the agent",
		Long: `Makes the dockerd of this machine pull through the agent's mirror: it becomes the
first of "registry-mirrors" in daemon.json. dockerd asks mirrors for images of
Docker Hub alone, and goes there itself where they do not answer.

With --proxy the agent also becomes dockerd's proxy, for all other registries. It
looks into what its proxy.hijack_https names, which needs a CA that dockerd trusts;
the rest passes it. dockerd has no way past a proxy that does not run. From 23.0 on
this is "proxies" in daemon.json, before that a drop-in of systemd.

Nothing else in daemon.json changes. Installing again changes nothing, or moves
what is installed to another mirror; --proxy stays. "shoal uninstall docker" gives
back what was there.`,
		Example: `  shoal install docker --dry-run
  shoal install docker --proxy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mirrorOf(cmd, &o.Mirror); err != nil {
				return err
			}
			r, err := docker.Install(cmd.Context(), o)
			return report(cmd.OutOrStdout(), r, err, o.DryRun)
		},
	}
	flags := cmd.Flags()
	addMirrorFlags(cmd, &o.Mirror)
	flags.BoolVar(&o.Proxy, "proxy", false, "send all other registries through the agent, as a proxy")
	flags.StringVar(&o.Config, "docker-config", docker.DefaultConfig, "dockerd's configuration `file`")
	flags.StringVar(&o.Socket, "docker-socket", "", "`socket` of dockerd, to ask for its version, on which --proxy depends; "+docker.DefaultSocket+" of this machine if empty")
	flags.StringVar(&o.Binary, "dockerd", "", "`path` of dockerd, to ask for its version where it does not run; looked for if empty")
	flags.StringVar(&o.Version, "docker-version", "", "version of dockerd, instead of asking it")
	addRootFlags(cmd, &o.Root, &o.DryRun)
	return cmd
}

func newUninstallDocker() *cobra.Command {
	return newUninstallOf("docker", "Give dockerd back the configuration it had",
		`Gives dockerd back the configuration that it had before "shoal install docker",
byte for byte. From a file that was changed since it takes out the mirror and the
proxy alone. Where that cannot be told apart it leaves the file, says so and fails.`, docker.Uninstall)
}

func newUninstallContainerd() *cobra.Command {
	return newUninstallOf("containerd", "Give containerd, k3s or RKE2 back the configuration it had",
		`Gives containerd, k3s or RKE2 back the configuration that it had before "shoal
install containerd", byte for byte. From a file that was changed since it takes
out the mirror alone. Where that cannot be told apart it leaves the file, says so
and fails.`, install.Uninstall)
}

func newUninstallOf(runtime, short, long string, uninstall func(root string, dryRun bool) (*undo.Result, error)) *cobra.Command {
	var root string
	var dryRun bool
	cmd := &cobra.Command{
		Use: runtime, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := uninstall(root, dryRun)
			return report(cmd.OutOrStdout(), r, err, dryRun)
		},
	}
	addRootFlags(cmd, &root, &dryRun)
	return cmd
}

func addMirrorFlags(cmd *cobra.Command, mirror *string) {
	config.AddFlags(cmd.Flags(), config.Install)
	_ = cmd.Flags().MarkHidden("plain-http")
	cmd.Flags().StringVar(mirror, "mirror", "", "`URL` of the mirror; that of mirror.listen if empty")
}

// mirrorOf completes the address of the mirror from the configuration.
func mirrorOf(cmd *cobra.Command, mirror *string) error {
	cfg, err := config.Load(cmd.Flags(), config.Install)
	if err == nil && *mirror == "" {
		*mirror, err = mirrorURL(cfg.MirrorListen)
	}
	return err
}

func addRootFlags(cmd *cobra.Command, root *string, dryRun *bool) {
	cmd.Flags().StringVar(root, "root", "/", "`directory` that stands for /, such as that of an image being built")
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print what would change as a diff, and change nothing")
}

// mirrorURL is where this machine reaches a mirror that listens at an address.
func mirrorURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("mirror.listen is %q: it is host:port", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// report prints what was done, also where that ended in an error.
func report(w io.Writer, r *undo.Result, err error, dryRun bool) error {
	if r == nil {
		return err
	}
	for _, c := range r.Changes {
		if dryRun {
			fmt.Fprint(w, c.Diff())
		} else if err == nil || errors.Is(err, undo.ErrLeft) {
			fmt.Fprintf(w, "%s: %s\n", c.Path, c.What)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	switch {
	case err != nil:
	case len(r.Changes) == 0:
		fmt.Fprintln(w, "nothing to change")
	case r.Restart != "":
		fmt.Fprintln(w, "next:", r.Restart)
	default:
		fmt.Fprintln(w, "no restart is needed: containerd reads this at each pull")
	}
	return err
}
