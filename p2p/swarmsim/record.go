package swarmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Recording is a run of a real swarm, to be compared with the simulator's.
type Recording struct {
	// Note says where it comes from.
	Note     string   `json:"note,omitempty"`
	Scenario Scenario `json:"scenario"`
	// Seconds is what each node took from its arrival; 0 if it did not
	// finish.
	Seconds []float64 `json:"seconds"`
	// Samples are optional.
	Samples []Sample `json:"samples,omitempty"`
}

// Comparison is a recording beside the simulator's run of its scenario.
type Comparison struct {
	Simulated Result `json:"simulated"`
	// Measured holds what a recording tells: Finish, Ratio, Last, Mean and
	// Samples.
	Measured Result `json:"measured"`
	// Slower is the measured time by the simulated one, per node; 0 where one
	// of them did not finish.
	Slower []float64 `json:"slower"`
	// Apart is the largest share of the pieces by which a node's samples
	// differ at the same time; 0 without samples.
	Apart float64 `json:"apart"`
}

const (
	maxFile    = 64 << 20 // bytes
	maxSamples = 1 << 20  // pieces held, over all samples
)

// Validate says what is wrong with a recording.
func (r Recording) Validate() error {
	if err := r.Scenario.Validate(); err != nil {
		return err
	}
	if len(r.Seconds) != len(r.Scenario.Nodes) {
		return fmt.Errorf("swarmsim: %d times for %d nodes", len(r.Seconds), len(r.Scenario.Nodes))
	}
	for i, took := range r.Seconds {
		if !(took >= 0 && took <= maxTime.Seconds()) {
			return fmt.Errorf("swarmsim: node %d took %g seconds: 0 to %g are possible", i, took, maxTime.Seconds())
		}
	}
	if len(r.Samples)*len(r.Seconds) > maxSamples {
		return fmt.Errorf("swarmsim: %d samples of %d nodes are more than %d numbers", len(r.Samples), len(r.Seconds), maxSamples)
	}
	last := 0.0
	for i, s := range r.Samples {
		if !(s.At >= last && s.At <= maxTime.Seconds()) {
			return fmt.Errorf("swarmsim: sample %d is taken at %g seconds, after one at %g", i, s.At, last)
		}
		last = s.At
		if len(s.Held) != len(r.Seconds) {
			return fmt.Errorf("swarmsim: sample %d is of %d nodes, not %d", i, len(s.Held), len(r.Seconds))
		}
		for j, held := range s.Held {
			if held < 0 || held > r.Scenario.pieces() {
				return fmt.Errorf("swarmsim: sample %d has %d of %d pieces on node %d", i, held, r.Scenario.pieces(), j)
			}
		}
	}
	return nil
}

// Load reads a recording from a file and checks it.
func Load(path string) (Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return Recording{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Recording{}, err
	}
	if len(data) > maxFile {
		return Recording{}, fmt.Errorf("swarmsim: %s is larger than %d bytes", path, maxFile)
	}
	return decode(path, data)
}

func decode(path string, data []byte) (r Recording, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Recording{}, fmt.Errorf("swarmsim: %s is not a recording: %w", path, err)
	}
	if err := r.Validate(); err != nil {
		return Recording{}, fmt.Errorf("%w, in %s", err, path)
	}
	return r, nil
}

// Save writes a recording to a file.
func (r Recording) Save(path string) (err error) {
	if err := r.Validate(); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Close())
}

// Replay plays a recording's scenario and compares.
func Replay(r Recording) (Comparison, error) {
	if err := r.Validate(); err != nil {
		return Comparison{}, err
	}
	s, err := play(r.Scenario, r.Samples)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Simulated: s.summary(), Measured: Result{Samples: r.Samples}}
	c.Measured.judge(s.sc, r.Seconds)
	for i, took := range r.Seconds {
		slower := 0.0
		if simulated := c.Simulated.Finish[i]; simulated > 0 {
			slower = took / simulated
		}
		c.Slower = append(c.Slower, slower)
	}
	for i, sample := range c.Simulated.Samples {
		for j, held := range sample.Held {
			apart := float64(held - r.Samples[i].Held[j])
			c.Apart = max(c.Apart, math.Abs(apart)/float64(s.sc.pieces()))
		}
	}
	return c, nil
}
