package main

import (
	"encoding/xml"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/p2p/swarmsim"
)

func TestThePromisedSwarmsAreInOrderAndHaveNames(t *testing.T) {
	all := scenarios(80e6)
	seen := map[string]bool{}
	for _, s := range all {
		require.NoError(t, s.validate(), s.Name)
		require.False(t, seen[s.Name], s.Name)
		seen[s.Name] = true
	}
	some, err := choose(all, "image,8")
	require.NoError(t, err)
	require.Len(t, some, 2)
	_, err = choose(all, "nine")
	require.ErrorContains(t, err, `"nine" is none of 8, 16, image`)
}

func TestNonsenseIsRefused(t *testing.T) {
	for name, change := range map[string]func(*scenario){
		"-n 0":       func(s *scenario) { s.Nodes = 0 },
		"-layers 0":  func(s *scenario) { s.Layers = 0 },
		"-s 0":       func(s *scenario) { s.Bytes = 0 },
		"-b -1":      func(s *scenario) { s.Rate = -1e6 },
		"-upstream":  func(s *scenario) { s.Registry = 0 },
		"-slow 8":    func(s *scenario) { s.Slow = 8 },
		"-stagger":   func(s *scenario) { s.Stagger = -1 },
		"need shape": func(s *scenario) { s.Rate, s.Stagger = 0, 1 },
		"-parallel":  func(s *scenario) { s.Parallel = 0 },
	} {
		s := scenarios(80e6)[0]
		change(&s)
		require.ErrorContains(t, s.validate(), name)
	}
}

// ran is a run of two nodes that took 11 and 12 s where one alone takes 10.
func ran() row {
	return row{
		scenario: scenario{Name: "x", Nodes: 2, Bytes: 100 * mib, Layers: 1, Parallel: 3, Rate: 80e6, Registry: 1},
		baseline: baseline{bound: 10 * time.Second, direct: 2, cache: 1.9},
		outcome: outcome{
			times: []time.Duration{11 * time.Second, 12 * time.Second}, moved: 200 * mib, cpu: time.Second,
			samples: []swarmsim.Sample{{Held: []int{0, 0}}, {At: 6, Held: []int{200, 190}}, {At: 12, Held: []int{400, 400}}},
		},
	}
}

func TestTheReportGivesRatios(t *testing.T) {
	r := ran()
	require.InDelta(t, 1.2, r.last(), 1e-9)
	require.InDelta(t, 1.15, r.mean(), 1e-9)
	r.scenario.Kill = true // the last one dies, and does not count
	require.InDelta(t, 1.1, r.last(), 1e-9)
}

func TestWithoutShapingTheProcessorsAreTheLimit(t *testing.T) {
	r := ran()
	require.Zero(t, r.ofProcessors())
	r.scenario.Rate, r.baseline.floor = 0, 2*time.Second
	require.InDelta(t, 0.5, r.ofProcessors()*float64(runtime.NumCPU()), 1e-9, "three times 2 s of work took 12")
	require.Contains(t, r.line(), "of the throughput that they allow for")
}

func TestARunIsRecordedForTheSimulator(t *testing.T) {
	r := ran()
	simulated, err := r.simulated()
	require.NoError(t, err)
	require.Greater(t, simulated, 1.0)
	r.scenario.Rate = 0
	_, ok := r.recording()
	require.False(t, ok, "it needs a rate")
}

func TestPlotsAreXML(t *testing.T) {
	for _, c := range []chart{piecesOverTime(ran()), ratioOverNodes([]row{ran(), ran()})} {
		d := xml.NewDecoder(strings.NewReader(c.svg()))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
		require.NotContains(t, c.svg(), "NaN")
	}
}
