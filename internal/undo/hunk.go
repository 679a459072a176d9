package undo

import (
	"bytes"
	"strings"
)

// Hunk is a change of text: Old became New. Mark is what cannot be there by
// chance if New is there.
type Hunk struct {
	Old  string `json:"old"`
	New  string `json:"new"`
	Mark string `json:"mark"`
}

// Edit replaces N bytes of a text at an offset.
type Edit struct {
	At, N int
	Text  string
	Mark  string
}

// Apply makes the edit. Its hunk takes in as many of the lines before as it takes
// to be found again.
func (e Edit) Apply(text []byte) ([]byte, Hunk) {
	out := make([]byte, 0, len(text)+len(e.Text))
	out = append(out, text[:e.At]...)
	out = append(out, e.Text...)
	out = append(out, text[e.At+e.N:]...)
	start, end := e.At, e.At+len(e.Text)
	for start > 0 && bytes.Count(out, out[start:end]) > 1 {
		start = LineStart(out, start-1)
	}
	return out, Hunk{Old: string(text[start : e.At+e.N]), New: string(out[start:end]), Mark: e.Mark}
}

// TakeOut undoes hunks, last first, in a text that may have changed around
// them. It is false if one of them is still there in part, or more than once.
func TakeOut(text []byte, hunks []Hunk) ([]byte, bool) {
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

// Newline is how the lines of a text end.
func Newline(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// Lines joins lines and ends each as those of text end.
func Lines(text []byte, all ...string) string {
	nl := Newline(text)
	return strings.Join(all, nl) + nl
}

// AtEnd appends lines to a text, whose last line may lack its end.
func AtEnd(text []byte, mark string, all ...string) Edit {
	add := Lines(text, all...)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		add = Newline(text) + add
	}
	return Edit{At: len(text), Text: add, Mark: mark}
}

// AfterLine inserts lines behind the line that holds offset.
func AfterLine(text []byte, offset int, mark string, all ...string) Edit {
	end := bytes.IndexByte(text[offset:], '\n')
	if end < 0 {
		return AtEnd(text, mark, all...)
	}
	return Edit{At: offset + end + 1, Text: Lines(text, all...), Mark: mark}
}

// LineStart is the offset of the line that holds offset.
func LineStart(text []byte, offset int) int {
	return bytes.LastIndexByte(text[:offset], '\n') + 1
}

// Indent is the white space that a line begins with.
func Indent(text []byte, start int) string {
	end := start
	for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
		end++
	}
	return string(text[start:end])
}
