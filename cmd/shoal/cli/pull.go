package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/imagepull"
	"github.com/shoal-p2p/shoal/plugin/containerd"
)

type pullFlags struct {
	admin, platform, progress string
	allPlatforms, unpack      bool
}

func newPull() *cobra.Command {
	var f pullFlags
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Pull an image through the swarm into the agent's content store",
		Example: `  shoal pull alpine
  shoal pull --platform linux/arm64 registry.example/team/app:1.2
  shoal pull --all-platforms --unpack registry.example/team/app:1.2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return pull(cmd, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.admin, "admin", defaultAdmin, "admin `address` of the agent")
	flags.StringVar(&f.platform, "platform", "", "platform such as linux/arm64; this machine's if empty")
	flags.BoolVar(&f.allPlatforms, "all-platforms", false, "pull what the image has for every platform")
	flags.BoolVar(&f.unpack, "unpack", false, "also unpack it for the platform, ready to run (containerd store)")
	flags.StringVar(&f.progress, "progress", "auto", "auto, plain or none")
	return cmd
}

func pull(cmd *cobra.Command, image string, f pullFlags) error {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return fmt.Errorf("image %q: %w", image, err)
	}
	if f.allPlatforms && f.platform != "" {
		return errors.New("--platform and --all-platforms exclude each other")
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logrus.SetLevel(logrus.ErrorLevel) // containerd's library tells of each request that fails
	before, err := askStatus(ctx, f.admin)
	if err != nil {
		return err
	}
	if before.Mirror == "" {
		return fmt.Errorf("%s is a supernode, which has no mirror: name an agent with --admin", f.admin)
	}
	display, err := newDisplay(cmd.ErrOrStderr(), f.progress)
	if err != nil {
		return err
	}
	start := time.Now()
	result, err := pullInto(ctx, before, named, f, display)
	display.end()
	if ctx.Err() != nil {
		return fmt.Errorf("image %s: interrupted", named)
	}
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n%s in %.1f s", named, result.Digest, size(result.Size), took.Seconds())
	if after, err := askStatus(ctx, f.admin); err == nil {
		if from := bySource(before.Node.Bytes, after.Node.Bytes); from != "" {
			fmt.Fprint(cmd.OutOrStdout(), ": ", from)
		}
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return nil
}

// pullInto pulls into whatever store the agent has.
func pullInto(ctx context.Context, to *agent.Status, named reference.Named, f pullFlags, d display) (imagepull.Image, error) {
	if to.Store.Kind != "containerd" {
		if f.unpack {
			return imagepull.Image{}, fmt.Errorf("--unpack needs an agent whose store is containerd")
		}
		got, err := imagepull.Pull(ctx, named, imagepull.Options{
			Mirror: to.Mirror, Platform: f.platform, AllPlatforms: f.allPlatforms, Credentials: dockerCredentials, Progress: d.show,
		})
		if err != nil {
			err = fmt.Errorf("image %s from mirror %s: %w", named, to.Mirror, err)
		}
		return got, err
	}
	st, err := containerd.New(containerd.Config{Address: to.Store.Address, Namespace: to.Store.Namespace})
	if err != nil {
		return imagepull.Image{}, err
	}
	defer st.Close()
	got, err := st.Pull(ctx, named.String(), containerd.PullOptions{
		Mirror: to.Mirror, Platform: f.platform, AllPlatforms: f.allPlatforms, Unpack: f.unpack, Credentials: dockerCredentials,
		Progress: func(all []containerd.Progress) {
			for _, p := range all {
				d.show(p.Descriptor, p.Offset)
			}
		},
	})
	return imagepull.Image{Digest: got.Digest, Size: got.Size}, err
}
