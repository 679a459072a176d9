package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-p2p/shoal/agent"
	"github.com/shoal-p2p/shoal/internal/admin"
	"github.com/shoal-p2p/shoal/internal/config"
)

const defaultAdmin = "127.0.0.1:65003"

func newStatus() *cobra.Command {
	var addr, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent on this machine does: peers, blobs, bytes by source",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := askStatus(cmd.Context(), addr)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), s)
			case "table":
				return printStatus(cmd.OutOrStdout(), s)
			}
			return fmt.Errorf("-o %s is unknown: it is table or json", output)
		},
	}
	cmd.Flags().StringVar(&addr, "admin", defaultAdmin, "admin `address` of the agent, or address of a supernode")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// askStatus asks a running process for its status.
func askStatus(ctx context.Context, addr string) (*agent.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+admin.StatusPath, nil)
	if err != nil {
		return nil, fmt.Errorf("--admin %s is not host:port", addr)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("nothing runs at %s: start \"shoal up\" or \"shoal agent\", or name another address with --admin", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("agent at %s: %w", addr, err)
	}
	defer resp.Body.Close()
	var s agent.Status
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&s) != nil {
		return nil, fmt.Errorf("what answers at %s is not Shoal's admin address: it says %s", addr, resp.Status)
	}
	return &s, nil
}

func printStatus(w io.Writer, s *agent.Status) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	n := s.Node
	fmt.Fprintf(t, "node\t%s\tshoal %s\n", n.ID, s.Version.Version)
	if s.Mirror != "" {
		fmt.Fprintf(t, "mirror\t%s\n", s.Mirror)
	}
	fmt.Fprintf(t, "store\t%s\t%s%s\n", s.Store.Kind, s.Store.Dir, s.Store.Address)
	switch {
	case s.Role == config.Supernode || s.Role == config.Up:
		fmt.Fprintf(t, "supernode\tthis one\n")
	case n.Supernode == nil:
		fmt.Fprintf(t, "supernode\tnone\n")
	case n.Supernode.Connected:
		fmt.Fprintf(t, "supernode\t%s\tconnected\n", n.Supernode.Address)
	default:
		fmt.Fprintf(t, "supernode\t%s\tUNREACHABLE: blobs come from peers and upstreams\n", n.Supernode.Address)
	}
	fmt.Fprintf(t, "announced\t%d blobs\n", n.Announced)
	fmt.Fprintf(t, "memory\t%s of %s for pieces\n", size(n.MemoryBytes), size(n.MemoryLimit))
	fmt.Fprintf(t, "\nreceived\tupstream\tsupernode\tpeers\tstore\tsent to others\n\t%s\t%s\t%s\t%s\t%s\n",
		size(n.Bytes["upstream"]), size(n.Bytes["supernode"]), size(n.Bytes["peer"]), size(n.Bytes["store"]), size(n.UploadBytes))
	if len(n.Peers) > 0 {
		fmt.Fprintf(t, "\npeer\taddress\tblobs\n")
		for _, p := range n.Peers {
			fmt.Fprintf(t, "%s\t%s\t%d\n", p.ID, p.Address, p.Tasks)
		}
	}
	if len(n.Tasks) > 0 {
		fmt.Fprintf(t, "\nblob\tsize\tpieces\tstate\tclients\tpeers\n")
		for _, b := range n.Tasks {
			fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%d\t%d\n", short(b.Digest), size(b.Size), b.Held, b.Pieces, b.State, b.Clients, b.Peers)
		}
	}
	return t.Flush()
}

// bySource is where bytes came from between two moments; "" if none came.
func bySource(before, after map[string]int64) string {
	var all []string
	for _, s := range []struct{ source, name string }{
		{"peer", "peers"}, {"supernode", "the supernode"}, {"upstream", "the upstream"}, {"store", "the store"},
	} {
		if n := after[s.source] - before[s.source]; n > 0 {
			all = append(all, size(n)+" from "+s.name)
		}
	}
	return strings.Join(all, ", ")
}

// short is enough of a digest to recognise it.
func short(dgst string) string {
	alg, hex, _ := strings.Cut(dgst, ":")
	return alg + ":" + hex[:min(len(hex), 12)]
}

// size is a number of bytes for people.
func size(n int64) string {
	switch f := float64(n); {
	case n < 0:
		return "?"
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", f/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", f/(1<<20))
	default:
		return fmt.Sprintf("%.2f GiB", f/(1<<30))
	}
}
