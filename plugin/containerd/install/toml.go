package install

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// expression is a top-level part of a TOML document: a table's header, or a key
// with its value.
type expression struct {
	table bool
	key   []string // the whole path, with that of the table it is in
	start int      // offset of its first key
	text  string   // of a key with its value
	value int      // offset of a string value in text
}

// expressions are those of a document that decodes.
func expressions(text []byte) []expression {
	var out []expression
	var table []string
	p := unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		x := expression{start: -1}
		if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && e.Kind != unstable.KeyValue {
			continue
		}
		for it := e.Key(); it.Next(); {
			if x.start < 0 {
				x.start = int(it.Node().Raw.Offset)
			}
			key = append(key, string(it.Node().Data))
		}
		if e.Kind == unstable.KeyValue {
			x.key = append(slices.Clone(table), key...)
			x.text = string(p.Raw(e.Raw))
			if v := e.Value(); v.Kind == unstable.String {
				x.value = int(v.Raw.Offset) - int(e.Raw.Offset)
			}
			x.start = int(e.Raw.Offset)
		} else {
			x.table, x.key, table = true, key, key
		}
		out = append(out, x)
	}
	return out
}

func decodeTOML(text []byte) (map[string]any, error) {
	tree := map[string]any{}
	if err := toml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("it is not valid TOML: %w", err)
	}
	return tree, nil
}

// lookup is the value at a path, nil if there is none.
func lookup(tree map[string]any, path ...string) any {
	var v any = tree
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func table(tree map[string]any, path ...string) map[string]any {
	m, _ := lookup(tree, path...).(map[string]any)
	return m
}

// put sets the value at a path, nil takes it away, and drops tables on the way
// that end up empty.
func put(tree map[string]any, value any, path ...string) {
	if len(path) == 1 {
		if value == nil {
			delete(tree, path[0])
		} else {
			tree[path[0]] = value
		}
		return
	}
	sub := table(tree, path[0])
	if sub == nil {
		sub = map[string]any{}
		tree[path[0]] = sub
	}
	put(sub, value, path[1:]...)
	if len(sub) == 0 {
		delete(tree, path[0])
	}
}

// differOnlyAt reports whether two documents are the same but for the value at
// a path.
func differOnlyAt(before, after []byte, path ...string) bool {
	a, err := decodeTOML(before)
	if err != nil {
		return false
	}
	b, err := decodeTOML(after)
	if err != nil {
		return false
	}
	put(a, nil, path...)
	put(b, nil, path...)
	return reflect.DeepEqual(a, b)
}

// quote is a TOML basic string, and a YAML and JSON one too. What it quotes
// was checked to be printable.
func quote(s string) string { return fmt.Sprintf("%q", s) }
