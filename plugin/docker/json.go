package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// document is a JSON object that keeps its bytes where it is not changed.
type document struct {
	*hujson.Object
	value hujson.Value
	text  []byte // that was parsed, without byte order mark
	mark  bool   // it begins with a byte order mark
}

// parse parses an object. A text without anything in it is an empty one.
func parse(text []byte) (*document, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("it is written in UTF-16: write it in UTF-8")
	}
	d := &document{}
	d.text, d.mark = bytes.CutPrefix(text, byteOrderMark)
	if len(bytes.TrimSpace(d.text)) == 0 {
		d.text = []byte("{}\n")
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(d.text, new(any)); errors.As(err, &syntax) {
		return nil, fmt.Errorf("it is not valid JSON, line %d: %w", d.line(int(syntax.Offset)-1), err)
	} else if err != nil {
		return nil, fmt.Errorf("it is not valid JSON: %w", err)
	}
	var err error
	if d.value, err = hujson.Parse(slices.Clone(d.text)); err != nil {
		return nil, err
	}
	var ok bool
	if d.Object, ok = d.value.Value.(*hujson.Object); !ok {
		return nil, errors.New("it is not an object in braces")
	}
	return d, nil
}

// decode is what a text says.
func decode(text []byte) (map[string]any, error) {
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	tree := map[string]any{}
	return tree, json.Unmarshal(d.text, &tree)
}

// line is that of an offset in the text that was parsed.
func (d *document) line(offset int) int {
	return 1 + bytes.Count(d.text[:min(max(offset, 0), len(d.text))], []byte("\n"))
}

// bytes is the whole text.
func (d *document) bytes() []byte {
	out := d.value.Pack()
	if d.mark {
		out = append(slices.Clone(byteOrderMark), out...)
	}
	return out
}

// find is where a member of an object is, -1 if there is none. dockerd takes the
// last of several.
func (d *document) find(obj *hujson.Object, name string) (int, error) {
	at := -1
	for i, m := range obj.Members {
		if m.Name.Value.(hujson.Literal).String() != name {
			continue
		}
		if at >= 0 {
			return -1, fmt.Errorf("%q stands there twice, on lines %d and %d: leave one", name,
				d.line(obj.Members[at].Name.StartOffset), d.line(m.Name.StartOffset))
		}
		at = i
	}
	return at, nil
}

// set gives a member of an object a value. A new one comes last, laid out as
// those before it.
func (d *document) set(obj *hujson.Object, name string, value hujson.ValueTrimmed) error {
	i, err := d.find(obj, name)
	if err != nil {
		return err
	}
	if i >= 0 {
		obj.Members[i].Value.Value = value
		return nil
	}
	m := hujson.ObjectMember{Name: hujson.Value{Value: hujson.String(name)}, Value: hujson.Value{Value: value}}
	outer, inner := d.lineStarts(obj)
	m.Value.BeforeExtra = hujson.Extra(" ")
	if n := len(obj.Members); n == 0 {
		m.Name.BeforeExtra, obj.AfterExtra = inner, outer
	} else {
		last := obj.Members[n-1]
		if !bytes.Contains(last.Value.BeforeExtra, []byte("\n")) {
			m.Value.BeforeExtra = slices.Clone(last.Value.BeforeExtra)
		}
		m.Name.BeforeExtra = lastLine(last.Name.BeforeExtra)
		if n == 1 && inOneLine(obj) {
			m.Name.BeforeExtra = slices.Clone(last.Value.BeforeExtra) // a space, if there is one behind the colon
		}
	}
	obj.Members = append(obj.Members, m)
	return nil
}

// lineStarts is what comes before the brace that closes an object without
// members, and before its first member.
func (d *document) lineStarts(obj *hujson.Object) (outer, inner hujson.Extra) {
	newline, unit := "\n", "  "
	if bytes.Contains(d.text, []byte("\r\n")) {
		newline = "\r\n"
	}
	if obj == d.Object {
		return hujson.Extra(newline), hujson.Extra(newline + unit)
	}
	if inOneLine(d.Object) {
		return nil, nil
	}
	if first := lastLine(d.Members[0].Name.BeforeExtra); len(first) > 0 {
		unit = strings.TrimLeft(string(first), "\r\n")
	}
	return hujson.Extra(newline + unit), hujson.Extra(newline + unit + unit)
}

// inOneLine reports whether an object's members follow each other in one line.
func inOneLine(obj *hujson.Object) bool {
	return len(obj.Members) > 0 && !slices.ContainsFunc(obj.Members, func(m hujson.ObjectMember) bool {
		return bytes.Contains(m.Name.BeforeExtra, []byte("\n"))
	})
}

// lastLine is the white space of the last of several lines, with what ends the
// one before.
func lastLine(space hujson.Extra) hujson.Extra {
	at := bytes.LastIndexByte(space, '\n')
	if at > 0 && space[at-1] == '\r' {
		at--
	}
	return slices.Clone(space[max(at, 0):])
}

// remove takes a member out of an object, if it is there.
func (d *document) remove(obj *hujson.Object, name string) error {
	i, err := d.find(obj, name)
	if i < 0 {
		return err
	}
	if i == 0 && len(obj.Members) > 1 {
		obj.Members[1].Name.BeforeExtra = obj.Members[0].Name.BeforeExtra
	}
	obj.Members = slices.Delete(obj.Members, i, i+1)
	if n := len(obj.Members); n > 0 {
		obj.Members[n-1].Value.AfterExtra = nil // would be a comma
	}
	return nil
}

// strings is a list of strings, nil if there is none, or null.
func (d *document) strings(name string) (*hujson.Array, []string, error) {
	i, err := d.find(d.Object, name)
	if i < 0 {
		return nil, nil, err
	}
	value := d.Members[i].Value
	list, ok := value.Value.(*hujson.Array)
	if !ok && value.Value.Kind() == 'n' {
		return nil, nil, nil
	}
	var all []string
	for k := 0; ok && k < len(list.Elements); k++ {
		var s hujson.Literal
		s, ok = list.Elements[k].Value.(hujson.Literal)
		ok = ok && s.Kind() == '"'
		all = append(all, s.String())
	}
	if !ok {
		return nil, nil, fmt.Errorf("%q is not a list of strings, line %d", name, d.line(value.StartOffset))
	}
	return list, all, nil
}

// insertFirst puts a string before the others of a list.
func insertFirst(list *hujson.Array, s string) {
	e := hujson.Value{Value: hujson.String(s)}
	if len(list.Elements) > 0 {
		first := &list.Elements[0]
		e.BeforeExtra = slices.Clone(first.BeforeExtra)
		switch {
		case bytes.Contains(first.BeforeExtra, []byte("\n")):
		case len(list.Elements) > 1:
			first.BeforeExtra = slices.Clone(list.Elements[1].BeforeExtra)
		default:
			first.BeforeExtra = hujson.Extra(" ")
		}
	}
	list.Elements = slices.Insert(list.Elements, 0, e)
}

// removeString takes one out of a list.
func removeString(list *hujson.Array, i int) {
	if i == 0 && len(list.Elements) > 1 {
		list.Elements[1].BeforeExtra = list.Elements[0].BeforeExtra
	}
	list.Elements = slices.Delete(list.Elements, i, i+1)
	if n := len(list.Elements); n > 0 {
		list.Elements[n-1].AfterExtra = nil
	}
}
