// Command testlog reads the events of go test -json.
//
// Without arguments it prints them from standard input as go test would: the
// packages, and all output of what failed. With -count FILE it prints how many
// tests that file holds, as "N passed, N failed, N skipped".
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
}

func main() {
	file := flag.String("count", "", "count the tests of this `file`")
	flag.Parse()
	err := show(os.Stdin, os.Stdout)
	if *file != "" {
		err = count(*file, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

func events(r io.Reader, each func(event)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = event{Action: "output", Output: lines.Text() + "\n"} // not of a test: a build error
		}
		each(e)
	}
	return lines.Err()
}

// show prints tables that tests log, skips with their reasons, and failures.
func show(r io.Reader, w io.Writer) error {
	held := map[string]*strings.Builder{}
	return events(r, func(e event) {
		key := e.Package + "." + e.Test
		switch e.Action {
		case "output", "build-output":
			if e.Test == "" {
				fmt.Fprint(w, e.Output)
				return
			}
			if held[key] == nil {
				held[key] = &strings.Builder{}
			}
			held[key].WriteString(e.Output)
		case "fail", "skip":
			if held[key] != nil {
				fmt.Fprint(w, held[key])
			}
			delete(held, key)
		case "pass":
			if held[key] != nil && strings.Contains(e.Package, "/integration") {
				fmt.Fprint(w, held[key])
			}
			delete(held, key)
		}
	})
}

func count(file string, w io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	n := map[string]int{}
	if err := events(f, func(e event) {
		if e.Test != "" {
			n[e.Action]++
		}
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"])
	return err
}
