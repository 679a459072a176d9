package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shoal-p2p/shoal/cmd/shoal/get"
	"github.com/shoal-p2p/shoal/internal/daemon"
)

// exitCodes of get.
var exitCodes = map[get.Kind]int{
	get.Other: exitFailure, get.Usage: exitUsage, get.Refused: 3, get.Unreachable: 4,
	get.Mismatch: 5, get.Local: 6, get.Timeout: 7, get.Interrupted: 130,
}

type getFlags struct {
	admin, output, digest, md5, byteRange, rate, pattern, progress string
	headers, filter                                                []string
	timeout, stall, retryDelay                                     time.Duration
	retries                                                        int
	quiet, keep                                                    bool
	own                                                            ownOptions
}

func newGet() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get URL...",
		Short: "Download files through the swarm",
		Long: `Downloads files of any kind over http or https: through the agent on this machine
if one runs, so that all nodes together read the source once. Else it is an agent
itself while it runs, in the swarm of --supernodes, or reads the source alone.

A file appears under its name only when it is whole and has the digest that was
asked for; what was there before is replaced then. Until then its bytes are in
.NAME.shoal-part beside it. After a failure or Ctrl-C the same command goes on from
there, if the source says by ETag or Last-Modified that the file is still the same,
and starts again if not.

Without -o the file is called as the source says (Content-Disposition), or by the
last part of the URL's path. User and password in a URL and in --header show in ps:
give them as --header @FILE, a file with a header in each line. They are sent to
the host of the URL alone.

Exit codes: 0 all files are there; 1 another error; 2 called wrongly; 3 the source
refused (4xx); 4 the source or the agent could not be reached or failed (5xx);
5 wrong digest; 6 the output could not be written; 7 timeout; 130 interrupted. With
several URLs all are tried, unless -o is -, and the first error counts.`,
		Example: `  shoal get https://files.example/model.bin
  shoal get -o /srv/model.bin --digest sha256:9f86d08… https://files.example/model.bin
  shoal get --header @token.txt --filter X-Amz-Signature,X-Amz-Date 'https://bucket.example/a.tar?X-Amz-…'
  shoal get -o - https://files.example/a.tar.zst | tar --zstd -x
  shoal get -o downloads/ https://files.example/a.iso https://files.example/b.iso`,
		Args: func(cmd *cobra.Command, args []string) error { return misuse("get", cobra.MinimumNArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			urls, o, err := f.options(cmd, args)
			if err != nil {
				return misuse("get", err)
			}
			return runGet(cmd, urls, o, f)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse("get", err) })
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "`FILE` to write, a folder (DIR/), or - for standard output")
	flags.StringVar(&f.digest, "digest", "", "`digest` that the content shall have: sha256:…, sha384:… or sha512:…")
	flags.StringVar(&f.md5, "md5", "", "MD5 sum that it shall have, in `hex`; proves little, for old scripts")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header for the source, '`Name: value`', or @FILE with a header in each line (repeatable)")
	flags.StringVarP(&f.byteRange, "range", "r", "", "`bytes` to get instead of the whole file: 0-99, 100- or -100 (the last)")
	flags.StringArrayVar(&f.filter, "filter", nil, "`NAME`s of query parameters that do not name content, such as signatures: URLs that differ in them alone are one file for the swarm (repeatable, or with commas)")
	flags.StringVar(&f.rate, "limit-rate", "", "bytes per second at most; K, M and G count by 1024 (`10M`)")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long all may take; 0: without end")
	flags.DurationVar(&f.stall, "stall-timeout", time.Minute, "how long nothing may come before a new try; 0: without end")
	flags.IntVar(&f.retries, "retry", 5, "how often to try again after failures that may pass; counted anew when bytes came")
	flags.DurationVar(&f.retryDelay, "retry-delay", time.Second, "pause before the first new try; it doubles, up to 30 s")
	flags.StringVar(&f.pattern, "pattern", "p2p", "p2p, or source to fetch from the source past the swarm")
	flags.BoolVar(&f.keep, "keep", false, "have the agent keep the file in its store too, for later and for other nodes (store.kind local)")
	flags.StringVar(&f.progress, "progress", "auto", "auto, plain or none")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print errors only")
	flags.StringSliceVar(&f.own.supernodes, "supernodes", nil, "`host[:port]` of the supernode whose swarm to join, where no agent runs")
	flags.StringVar(&f.own.caFile, "cacert", "", "PEM `FILE` with CAs to trust beside the system's; the agent, which has its own, is left out then")
	flags.BoolVar(&f.own.insecure, "insecure", false, "accept any certificate; the agent is left out then")
	flags.StringVar(&f.admin, "admin", defaultAdmin, "admin `address` of the agent; it has to run if this is given")
	return cmd
}

// options understands the command line.
func (f getFlags) options(cmd *cobra.Command, args []string) (urls []*url.URL, o get.Options, err error) {
	for _, arg := range args {
		u, err := get.ParseURL(arg)
		if err != nil {
			return nil, o, err
		}
		urls = append(urls, u)
	}
	o = get.Options{
		Header: http.Header{}, Source: f.pattern == "source", Keep: f.keep, Stdout: cmd.OutOrStdout(),
		Stall: f.stall, Retries: f.retries, RetryDelay: f.retryDelay,
	}
	if f.pattern != "p2p" && f.pattern != "source" {
		return nil, o, fmt.Errorf("--pattern %s is unknown: it is p2p or source", f.pattern)
	}
	if f.timeout < 0 || f.stall < 0 || f.retries < 0 || f.retryDelay < 0 {
		return nil, o, fmt.Errorf("--timeout, --stall-timeout, --retry and --retry-delay must not be below 0")
	}
	for _, h := range f.headers {
		if err := get.AddHeader(o.Header, h); err != nil {
			return nil, o, fmt.Errorf("--header: %w", err)
		}
	}
	for _, names := range f.filter {
		for name := range strings.SplitSeq(names, ",") {
			if name = strings.TrimSpace(name); name != "" {
				o.Filter = append(o.Filter, name)
			}
		}
	}
	if err := f.content(&o, len(urls)); err != nil {
		return nil, o, err
	}
	if f.rate != "" {
		if o.Rate, err = get.ParseRate(f.rate); err != nil {
			return nil, o, fmt.Errorf("--limit-rate: %w", err)
		}
	}
	_, err = newTransfers(io.Discard, f.progress)
	return urls, o, err
}

// content understands which content is wanted.
func (f getFlags) content(o *get.Options, urls int) error {
	if urls > 1 && (f.digest != "" || f.md5 != "") {
		return fmt.Errorf("--digest and --md5 are for one URL")
	}
	if f.digest != "" {
		d, err := get.ParseDigest(f.digest)
		if err != nil {
			return fmt.Errorf("--digest: %w", err)
		}
		o.Digests = append(o.Digests, d)
	}
	if f.md5 != "" {
		d, err := get.ParseMD5(f.md5)
		if err != nil {
			return fmt.Errorf("--md5: %w", err)
		}
		o.Digests = append(o.Digests, d)
	}
	if f.byteRange != "" {
		r, err := get.ParseRange(f.byteRange)
		if err != nil {
			return fmt.Errorf("--range: %w", err)
		}
		o.Range = r
	}
	if !get.Holds(f.output, urls) {
		return fmt.Errorf("-o %s is one file, for several URLs: name a folder (%s/), or - for all in a row", f.output, f.output)
	}
	return nil
}

// runGet downloads one URL after the other.
func runGet(cmd *cobra.Command, urls []*url.URL, o get.Options, f getFlags) error {
	ctx, stop := daemon.UntilSignal(cmd.Context())
	defer stop()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	e, err := findEngine(ctx, f.admin, cmd.Flags().Changed("admin"), f.own)
	if err != nil {
		return &exit{exitCodes[get.Unreachable], err}
	}
	defer e.close()
	o.Engine = e.Engine
	o.Source = o.Source || e.alone
	mode := f.progress
	if f.quiet || mode == "auto" && o.Stdout == os.Stdout && f.output == "-" && term.IsTerminal(int(os.Stdout.Fd())) {
		mode = "none"
	}
	w := cmd.ErrOrStderr()
	if f.quiet {
		w = io.Discard
	}
	t, err := newTransfers(w, mode)
	if err != nil {
		return err
	}
	o.Watch = t
	g := get.New(o)
	var first error
	for _, u := range urls {
		err := getOne(ctx, e, t, w, func() (get.Result, error) { return g.Get(ctx, u, f.output) })
		if err == nil {
			continue
		}
		if first == nil {
			first = &exit{exitCodes[get.KindOf(err)], err}
		} else {
			fmt.Fprintln(cmd.ErrOrStderr(), "shoal:", err)
		}
		if ctx.Err() != nil || f.output == "-" { // a gap in a stream helps nobody
			break
		}
	}
	return first
}

// getOne downloads a file, shows how that goes, and tells what came of it.
func getOne(ctx context.Context, e *engine, t transfers, w io.Writer, download func() (get.Result, error)) error {
	start := time.Now()
	watched, stop := e.watch(ctx, t)
	r, err := download()
	stop()
	t.end()
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintf(w, "%s\n%s\n%s in %.1f s", r.Name, r.Digest, size(r.Size), took.Seconds())
	if r.Came < r.Size {
		fmt.Fprintf(w, ", %s of it now", size(r.Came))
	}
	fmt.Fprintf(w, " (%s/s): %s\n", size(int64(float64(r.Came)/max(took.Seconds(), 1e-3))), watched(r.Task))
	return nil
}
