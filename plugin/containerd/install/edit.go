package install

import (
	"bytes"
	"strings"
)

// hunk is a change of text: old became new. mark is what cannot be there by
// chance if new is there.
type hunk struct {
	Old  string `json:"old"`
	New  string `json:"new"`
	Mark string `json:"mark"`
}

// edit replaces n bytes of a text at an offset.
type edit struct {
	at, n int
	text  string
	mark  string
}

// apply makes the edit. Its hunk takes in as many of the lines before as it takes
// to be found again.
func (e edit) apply(text []byte) ([]byte, hunk) {
	out := make([]byte, 0, len(text)+len(e.text))
	out = append(out, text[:e.at]...)
	out = append(out, e.text...)
	out = append(out, text[e.at+e.n:]...)
	start, end := e.at, e.at+len(e.text)
	for start > 0 && bytes.Count(out, out[start:end]) > 1 {
		start = lineStart(out, start-1)
	}
	return out, hunk{Old: string(text[start : e.at+e.n]), New: string(out[start:end]), Mark: e.mark}
}

// takeOut undoes hunks, last first, in a text that may have changed around
// them. It is false if one of them is still there in part, or more than once.
func takeOut(text []byte, hunks []hunk) ([]byte, bool) {
	for i := len(hunks) - 1; i >= 0; i-- {
		h := hunks[i]
		switch n := bytes.Count(text, []byte(h.New)); {
		case n == 1:
			text = bytes.Replace(text, []byte(h.New), []byte(h.Old), 1)
		case n > 1 || bytes.Contains(text, []byte(h.Mark)):
			return nil, false
		}
	}
	return text, true
}

// newline is how the lines of a text end.
func newline(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// lines joins lines and ends each as those of text end.
func lines(text []byte, all ...string) string {
	nl := newline(text)
	return strings.Join(all, nl) + nl
}

// atEnd appends lines to a text, whose last line may lack its end.
func atEnd(text []byte, mark string, all ...string) edit {
	add := lines(text, all...)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		add = newline(text) + add
	}
	return edit{at: len(text), text: add, mark: mark}
}

// afterLine inserts lines behind the line that holds offset.
func afterLine(text []byte, offset int, mark string, all ...string) edit {
	end := bytes.IndexByte(text[offset:], '\n')
	if end < 0 {
		return atEnd(text, mark, all...)
	}
	return edit{at: offset + end + 1, text: lines(text, all...), mark: mark}
}

// lineStart is the offset of the line that holds offset.
func lineStart(text []byte, offset int) int {
	return bytes.LastIndexByte(text[:offset], '\n') + 1
}

// indent is the white space that a line begins with.
func indent(text []byte, start int) string {
	end := start
	for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
		end++
	}
	return string(text[start:end])
}
