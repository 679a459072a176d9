package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/proxy/ca"
)

const day = 24 * time.Hour

func newGenCA() *cobra.Command {
	var (
		o    ca.Options
		dir  string
		days int
	)
	cmd := &cobra.Command{
		Use:   "gen-ca --out DIR",
		Short: "Make a CA for the HTTPS connections that the proxy opens",
		Long: `Makes a CA with which the forward proxy signs certificates for the hosts of
proxy.hijack_https.hosts, and writes its certificate and its key into a directory.
Files that exist there are never overwritten.

Whoever holds the key can pose as any host towards all who trust the CA. With
--name-constraint it may sign for some hosts alone: clients refuse all others.`,
		Example: `  shoal gen-ca --out /etc/shoal
  shoal gen-ca --out /etc/shoal --name-constraint registry.example --name-constraint 10.0.0.0/8`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return errors.New("name the directory for ca.crt and ca.key: --out DIR")
			}
			dir, err := filepath.Abs(dir) // for what is printed
			if err != nil {
				return err
			}
			if days < 1 || days > 36500 {
				return fmt.Errorf("--days is %d: it is 1 to 36500", days)
			}
			o.ValidFor = time.Duration(days) * day
			o.Name = "Shoal proxy CA"
			if host, err := os.Hostname(); err == nil {
				o.Name = fmt.Sprintf("Shoal proxy CA of %.40s", host)
			}
			if err := ca.Create(dir, o); err != nil {
				return err
			}
			cert, key := filepath.Join(dir, ca.CertFile), filepath.Join(dir, ca.KeyFile)
			host := regexp.QuoteMeta(exampleOf(o.Constraints))
			fmt.Fprintf(cmd.OutOrStdout(), nextOfCA, cert, key, cert, cert, cert, key, host, host)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "out", "", "`DIR`ectory for ca.crt and ca.key")
	cmd.Flags().StringArrayVar(&o.Constraints, "name-constraint", nil, "`DOMAIN` with its subdomains, address or network that the CA may sign for (repeatable); everything if none is named")
	cmd.Flags().IntVar(&days, "days", 3650, "`DAYS` for which the CA is valid")
	return cmd
}

// exampleOf is a host that a CA with these constraints may sign for, if one of them
// is a name.
func exampleOf(constraints []string) string {
	for _, s := range constraints {
		_, notAddress := netip.ParseAddr(s)
		if name := strings.ToLower(s); notAddress != nil && ca.IsName(name) {
			return name
		}
	}
	return "registry.example"
}

// nextOfCA tells what to do with a CA.
const nextOfCA = `Made %s and %s (keep that one secret).

Make the machines that use the proxy trust it:
  Debian, Ubuntu:  cp %s /usr/local/share/ca-certificates/shoal.crt && update-ca-certificates
  Fedora, RHEL:    cp %s /etc/pki/ca-trust/source/anchors/shoal.crt && update-ca-trust
Restart dockerd then: it reads the system's CAs when it starts.

Tell the agent which connections to open:
  proxy:
    hijack_https:
      cert: %s
      key: %s
      hosts:
        - regex: ^%s:443$
    rules:
      - regex: ^https://%s/
`
