package install

import (
	"fmt"
	"slices"
	"strings"
)

// setConfigPath sets config_path in a table of containerd's config.toml. version
// is written into a file that has nothing in it yet.
func setConfigPath(text []byte, version int, table []string, value string) ([]byte, []hunk, error) {
	tree, err := decodeTOML(text)
	if err != nil {
		return nil, nil, err
	}
	path := append(slices.Clone(table), "config_path")
	out, hunks := text, []hunk{}
	do := func(e edit) {
		var h hunk
		out, h = e.apply(out)
		hunks = append(hunks, h)
	}
	if len(tree) == 0 {
		do(atEnd(out, "version =", fmt.Sprintf("version = %d", version)))
	}
	line := "config_path = " + quote(value)
	all := expressions(text)
	is := func(key []string, table bool) func(expression) bool {
		return func(x expression) bool { return x.table == table && slices.Equal(x.key, key) }
	}
	if i := slices.IndexFunc(all, is(path, false)); i >= 0 {
		x := all[i]
		do(edit{at: x.start, n: len(x.text), text: x.text[:x.value] + quote(value), mark: quote(value)})
	} else if i := slices.IndexFunc(all, is(table, true)); i >= 0 {
		do(afterLine(out, all[i].start, line, indent(text, lineStart(text, all[i].start))+"  "+line))
	} else {
		add := []string{header(table), "  " + line}
		if len(out) > 0 {
			add = append([]string{""}, add...)
		}
		do(atEnd(out, line, add...))
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
