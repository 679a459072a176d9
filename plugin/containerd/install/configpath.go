package install

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// setConfigPath sets config_path in a table of containerd's config.toml. version
// is written into a file that has nothing in it yet.
func setConfigPath(text []byte, version int, table []string, value string) ([]byte, []undo.Hunk, error) {
	tree, err := decodeTOML(text)
	if err != nil {
		return nil, nil, err
	}
	path := append(slices.Clone(table), "config_path")
	out, hunks := text, []undo.Hunk{}
	do := func(e undo.Edit) {
		var h undo.Hunk
		out, h = e.Apply(out)
		hunks = append(hunks, h)
	}
	if len(tree) == 0 {
		do(undo.AtEnd(out, "version =", fmt.Sprintf("version = %d", version)))
	}
	line := "config_path = " + quote(value)
	all := expressions(text)
	is := func(key []string, table bool) func(expression) bool {
		return func(x expression) bool { return x.table == table && slices.Equal(x.key, key) }
	}
	if i := slices.IndexFunc(all, is(path, false)); i >= 0 {
		x := all[i]
		do(undo.Edit{At: x.start, N: len(x.text), Text: x.text[:x.value] + quote(value), Mark: quote(value)})
	} else if i := slices.IndexFunc(all, is(table, true)); i >= 0 {
		do(undo.AfterLine(out, all[i].start, line, undo.Indent(text, undo.LineStart(text, all[i].start))+"  "+line))
	} else {
		add := []string{header(table), "  " + line}
		if len(out) > 0 {
			add = append([]string{""}, add...)
		}
		do(undo.AtEnd(out, line, add...))
	}
	if len(tree) > 0 && !differOnlyAt(text, out, path...) || lookupText(out, path) != value {
		return nil, nil, fmt.Errorf("it is written so that config_path cannot be put in without changing more: add %s with %s by hand, then install again", header(table), line)
	}
	return out, hunks, nil
}

func lookupText(text []byte, path []string) string {
	tree, err := decodeTOML(text)
	if err != nil {
		return ""
	}
	s, _ := lookup(tree, path...).(string)
	return s
}

// header is a table's header line.
func header(table []string) string {
	parts := make([]string, len(table))
	for i, p := range table {
		if strings.ContainsAny(p, ".:/ ") {
			p = quote(p)
		}
		parts[i] = p
	}
	return "[" + strings.Join(parts, ".") + "]"
}
