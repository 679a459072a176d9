package swarmsim

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARecordingOfTheSimulatorIsReplayedExactly(t *testing.T) {
	sc := crowd(8)
	sc.SampleEvery = time.Second
	ran, err := Run(sc)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "run.json")
	require.NoError(t, Recording{Scenario: sc, Seconds: ran.Finish, Samples: ran.Samples}.Save(path))
	r, err := Load(path)
	require.NoError(t, err)
	c, err := Replay(r)
	require.NoError(t, err)
	require.InDelta(t, ran.Last, c.Measured.Last, 1e-9)
	require.InDelta(t, ran.Mean, c.Measured.Mean, 1e-9)
	require.Zero(t, c.Apart)
	for _, slower := range c.Slower {
		require.InDelta(t, 1, slower, 1e-9)
	}
}

// The recording is of the simulator, and the picker may have changed since.
func TestAStoredRecordingIsReplayed(t *testing.T) {
	r, err := Load("testdata/simulated-16.json")
	require.NoError(t, err)
	c, err := Replay(r)
	require.NoError(t, err)
	require.InDelta(t, 1, c.Measured.Last/c.Simulated.Last, 0.1)
	require.Less(t, c.Apart, 0.2)
	require.Len(t, c.Simulated.Samples, len(r.Samples))
}

// What integration/benchswarm knows of a run can be recorded: times from each
// node's own arrival, 0 for who died, and pieces held at odd moments.
func TestARunOfARealSwarmCanBeRecorded(t *testing.T) {
	sc := crowd(4)
	sc.Blobs, sc.Parallel, sc.UpstreamRate, sc.Queue = []int{128, 128}, 1, 0.5*rate, 64<<10
	sc.Nodes[1] = Node{Up: rate / 10, Down: rate / 10}
	sc.Nodes[2] = Node{Arrive: halfway}
	sc.Nodes[3] = Node{Dies: halfway}
	path := filepath.Join(t.TempDir(), "run.json")
	require.NoError(t, Recording{
		Note: "made up", Scenario: sc, Seconds: []float64{12, 60, 10, 0},
		Samples: []Sample{{At: 0.0013, Held: []int{0, 0, 0, 0}}, {At: 5.01, Held: []int{110, 24, 70, 60}}, {At: 70, Held: []int{256, 256, 256, 60}}},
	}.Save(path))
	r, err := Load(path)
	require.NoError(t, err)
	c, err := Replay(r)
	require.NoError(t, err)
	require.Equal(t, r.Seconds, c.Measured.Finish)
	require.InDelta(t, 12/10.74, c.Measured.Ratio[0], 1e-3)
	require.Len(t, c.Simulated.Samples, 3)
	require.Equal(t, 256, c.Simulated.Samples[2].Held[1])
	require.NotZero(t, c.Slower[1])
	require.Zero(t, c.Slower[3])
	require.Zero(t, c.Simulated.Ratio[3])
}

func TestARecordingThatCannotBeIsRefused(t *testing.T) {
	good := func() Recording {
		return Recording{
			Scenario: crowd(2), Seconds: []float64{6, 6},
			Samples: []Sample{{At: 1, Held: []int{40, 40}}, {At: 2, Held: []int{80, 80}}},
		}
	}
	require.NoError(t, good().Validate())
	for want, spoil := range map[string]func(*Recording){
		"0 nodes":                        func(r *Recording) { r.Scenario.Nodes = nil },
		"0 blobs":                        func(r *Recording) { r.Scenario.Blobs = nil },
		"blob 0 has 0 pieces":            func(r *Recording) { r.Scenario.Blobs = []int{0} },
		"on 2 nodes are more than":       func(r *Recording) { r.Scenario.Blobs = make65536(200) },
		"piece_size is 0":                func(r *Recording) { r.Scenario.PieceSize = 0 },
		"rate is missing":                func(r *Recording) { r.Scenario.Rate = 0 },
		"rate is NaN":                    func(r *Recording) { r.Scenario.Rate = math.NaN() },
		"upstream_rate is -1":            func(r *Recording) { r.Scenario.UpstreamRate = -1 },
		"queue is -1":                    func(r *Recording) { r.Scenario.Queue = -1 },
		"rtt_ns is 1s":                   func(r *Recording) { r.Scenario.RTT = time.Second },
		"window is -1":                   func(r *Recording) { r.Scenario.Window = -1 },
		"sample_every_ns is 1ns":         func(r *Recording) { r.Scenario.SampleEvery = 1 },
		"arrive_ns is -1ns":              func(r *Recording) { r.Scenario.Nodes[1].Arrive = -1 },
		"up is +Inf":                     func(r *Recording) { r.Scenario.Nodes[1].Up = math.Inf(1) },
		"1 times for 2 nodes":            func(r *Recording) { r.Seconds = r.Seconds[:1] },
		"node 1 took -1 seconds":         func(r *Recording) { r.Seconds[1] = -1 },
		"sample 1 is taken at 0 seconds": func(r *Recording) { r.Samples[1].At = 0 },
		"sample 1 is of 1 nodes, not 2":  func(r *Recording) { r.Samples[1].Held = r.Samples[1].Held[:1] },
		"sample 1 has 300 of 256 pieces": func(r *Recording) { r.Samples[1].Held[0] = 300 },
		"are more than 1048576 numbers":  func(r *Recording) { r.Samples = make([]Sample, maxSamples) },
		"sample_every_ns is 25h0m0s: 0":  func(r *Recording) { r.Scenario.SampleEvery = 25 * time.Hour },
	} {
		r := good()
		spoil(&r)
		require.ErrorContains(t, r.Validate(), want)
		_, err := Replay(r)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, r.Save(filepath.Join(t.TempDir(), "x")), want)
	}
}

func make65536(blobs int) []int {
	b := make([]int, blobs)
	for i := range b {
		b[i] = maxPieces
	}
	return b
}

func TestWhatIsNotARecordingIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	_, err := Load(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, data := range []string{"", "{", "[]", `{"colour":1}`, `{"scenario":{"rate":"fast"}}`} {
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		_, err := Load(path)
		require.ErrorContains(t, err, "is not a recording")
	}
}

func FuzzDecode(f *testing.F) {
	data, _ := json.Marshal(Recording{Scenario: crowd(2), Seconds: []float64{6, 6}})
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode("fuzz", data)
		if err == nil {
			require.NoError(t, r.Validate())
		}
	})
}
