package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Status is how a check ended.
type Status string

// Ends of a check. A failure keeps pulls from going through Shoal as they should,
// a warning may keep some of them.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failure Status = "failure"
	Skipped Status = "skipped"
)

// Result is the answer of a check.
type Result struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	// Fix is what to do, one step a line; "" if there is nothing to do.
	Fix string `json:"fix"`
}

// answer is a result whose check is known.
type answer struct {
	status Status
	detail string
	fix    []string
}

func say(status Status, format string, args ...any) answer {
	return answer{status: status, detail: fmt.Sprintf(format, args...)}
}

func fine(format string, args ...any) answer { return say(OK, format, args...) }
func warn(format string, args ...any) answer { return say(Warning, format, args...) }
func fail(format string, args ...any) answer { return say(Failure, format, args...) }
func skip(format string, args ...any) answer { return say(Skipped, format, args...) }

// do adds a step to the fix.
func (a answer) do(format string, args ...any) answer {
	a.fix = append(a.fix[:len(a.fix):len(a.fix)], fmt.Sprintf(format, args...))
	return a
}

var marks = map[Status]string{OK: "✓", Warning: "!", Failure: "✗", Skipped: "–"}

// Print writes a result for people.
func (r Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s %-*s  %s\n", marks[r.Status], widest, r.Name, r.Detail)
	for _, line := range strings.Split(r.Fix, "\n") {
		if line != "" {
			fmt.Fprintf(w, "  %*s  → %s\n", widest, "", line)
		}
	}
}

// Failed reports whether one of the checks failed.
func Failed(all []Result) bool { return count(all, Failure) > 0 }

func count(all []Result, s Status) int {
	n := 0
	for _, r := range all {
		if r.Status == s {
			n++
		}
	}
	return n
}

// Verdict is all results in a sentence.
func Verdict(all []Result) string {
	failures, warnings := count(all, Failure), count(all, Warning)
	also := ""
	if warnings > 0 {
		also = fmt.Sprintf(" (%s)", plural(warnings, "warning"))
	}
	probed := Skipped
	for _, r := range all {
		if r.Name == nameProbe {
			probed = r.Status
		}
	}
	switch {
	case failures > 0:
		return fmt.Sprintf("%s%s: pulls do not all go through Shoal, or not as they should. Begin with the first ✗.", plural(failures, "failure"), also)
	case probed == Warning:
		return "No check failed" + also + ", but the probe did not prove that pulls go through Shoal: see there."
	case probed == OK && warnings > 0:
		return "The probe came through Shoal; other pulls may not, or not as they should" + also + ": see each !."
	case probed == OK:
		return "Pulls on this node go through Shoal."
	case warnings > 0:
		return "No check failed, but some pulls may not go through Shoal, or not as they should" + also + ": see each !. A real pull proves it for one: shoal doctor --probe IMAGE"
	default:
		return "Nothing keeps pulls on this node from going through Shoal. A real pull proves it: shoal doctor --probe IMAGE"
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
