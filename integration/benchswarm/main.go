// Command benchswarm measures how long a swarm takes, against the bound: the
// time in which one node alone downloads the same straight from the registry
// over the same link.
//
// Each swarm lives in network namespaces on a bridge of its own, every link
// shaped both ways. Next to it, in the same run and over the same links, all
// nodes pull straight from the registry, and through a pull-through cache in
// the supernode's place.
//
// Without flags it measures what the project promises; -b alone changes its rate.
// Any other flag of a swarm measures that one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// config is what all runs have in common.
type config struct {
	shoal       string
	agentFlags  []string
	baselines   bool
	runs        int
	timeout     time.Duration
	sampleEvery time.Duration
	keepLogs    string
}

func main() {
	logrus.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything has been cleaned up")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchswarm:", err)
		os.Exit(1)
	}
}

// ofOneSwarm are the flags that describe a swarm.
var ofOneSwarm = []string{"n", "s", "layers", "parallel", "upstream", "stagger", "slow", "kill", "freeze", "kill-supernode"}

func run(ctx context.Context) error {
	var c config
	flag.StringVar(&c.shoal, "shoal", "bin/shoal", "the binary to measure")
	flag.BoolVar(&c.baselines, "baselines", true, "measure all nodes straight from the registry, and through a cache")
	flag.IntVar(&c.runs, "runs", 1, "runs of each swarm")
	flag.DurationVar(&c.timeout, "timeout", time.Hour, "how long one pull may take")
	flag.StringVar(&c.keepLogs, "logs", "", "folder to keep the daemons' logs in")
	flags := flag.String("agent-flags", "", "more flags for the agents")
	names := flag.String("cases", "", "comma-separated names of the promised swarms; all by default")

	record := flag.String("record", "", "file to record the last run in, for the simulator")
	plot := flag.String("plot", "", "SVG file to plot the pieces of the last run over time in")
	over := flag.String("over", "", "comma-separated numbers of nodes: measure each, and plot the ratio over them into -plot")

	var s scenario
	rate := flag.Int64("b", 80, "B, the rate of every link in Mbit/s each way; 0 does not shape")
	flag.IntVar(&s.Nodes, "n", 8, "N, the nodes that pull")
	size := flag.Int64("s", 128, "S, the size in MiB")
	flag.IntVar(&s.Layers, "layers", 1, "layers of equal size that S is cut into")
	flag.IntVar(&s.Parallel, "parallel", 3, "layers that a node pulls at a time")
	flag.Float64Var(&s.Registry, "upstream", 1, "the rate of the registry's link ÷ B")
	flag.Float64Var(&s.Stagger, "stagger", 0, "spread the arrivals over so many times S ÷ B")
	flag.IntVar(&s.Slow, "slow", 0, "nodes with links of B ÷ 10")
	flag.BoolVar(&s.Kill, "kill", false, "kill the last node half-way")
	flag.BoolVar(&s.Freeze, "freeze", false, "freeze the last node half-way")
	flag.BoolVar(&s.KillSupernode, "kill-supernode", false, "kill the supernode half-way")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flag.Arg(0))
	}
	c.agentFlags = strings.Fields(*flags)
	s.Rate, s.Bytes = *rate*1e6, *size*mib
	one := *over != ""
	flag.Visit(func(f *flag.Flag) { one = one || slices.Contains(ofOneSwarm, f.Name) })
	list, err := choose(scenarios(s.Rate), *names)
	if one {
		if *names != "" {
			return errors.New("-cases excludes -over and the flags of one swarm")
		}
		s.Name, s.About = "flags", "as the flags say"
		list = []scenario{s}
	}
	if err != nil {
		return err
	}
	if c.shoal, err = filepath.Abs(c.shoal); err != nil {
		return err
	}
	if *over != "" {
		if list, err = overNodes(s, *over); err != nil {
			return err
		}
	} else if *plot != "" || *record != "" {
		c.sampleEvery = 500 * time.Millisecond
	}
	rows, err := c.measure(ctx, list)
	if err != nil {
		return err
	}
	return errors.Join(summary(os.Stdout, rows), draw(rows, *plot, *over != ""), save(rows[len(rows)-1], *record))
}

// overNodes is the swarm of the flags with each of the numbers of nodes.
func overNodes(s scenario, numbers string) (list []scenario, err error) {
	for _, text := range strings.Split(numbers, ",") {
		if s.Nodes, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("-over: %q is no number of nodes", text)
		}
		s.Name, s.About = text, text+" nodes"
		list = append(list, s)
	}
	return list, nil
}

func draw(rows []row, file string, overNodes bool) error {
	switch {
	case file == "":
		return nil
	case overNodes:
		return ratioOverNodes(rows).save(file)
	}
	return piecesOverTime(rows[len(rows)-1]).save(file)
}

func save(r row, file string) error {
	if file == "" {
		return nil
	}
	rec, ok := r.recording()
	if !ok {
		return errors.New("-record: the simulator knows no such swarm")
	}
	return rec.Save(file)
}

// measure runs the scenarios, and the baselines of each shape once.
func (c config) measure(ctx context.Context, list []scenario) (rows []row, err error) {
	for _, s := range list {
		if err := s.validate(); err != nil {
			return nil, err
		}
	}
	baselines := map[string]baseline{}
	for _, s := range list {
		b, ok := baselines[s.shape()]
		if !ok {
			say("baselines of %s", s.shape())
			if b, err = c.measureBaseline(ctx, s, c.baselines); err != nil {
				return nil, err
			}
			baselines[s.shape()] = b
		}
		say("%s: %s", s.Name, s.About)
		for range c.runs {
			out, err := c.swarm(ctx, s, b.bound)
			if err != nil {
				return nil, fmt.Errorf("case %s: %w", s.Name, err)
			}
			r := row{scenario: s, baseline: b, outcome: out}
			fmt.Println(r.line())
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
