package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// addEndpoints puts the mirror before all endpoints of registries in the
// registries.yaml of k3s and RKE2. hosts are the registries; "*" stands for all
// that the file does not name, so those that it names are added. Registries
// that are left out, with the reason, are told in notes.
func addEndpoints(text []byte, mirror string, hosts []string) (out []byte, hunks []undo.Hunk, notes []string, err error) {
	tree, err := decodeYAML(text)
	if err != nil {
		return nil, nil, nil, err
	}
	all := map[string]bool{}
	for _, h := range hosts {
		all[h] = true
	}
	mirrors := table(tree, "mirrors")
	if all["*"] {
		// A registry with an entry has a folder of its own in what k3s writes.
		for h := range mirrors {
			all[h] = true
		}
		for h := range table(tree, "configs") {
			all[h] = true
		}
	}
	rewrites := func(host string) bool {
		if len(table(mirrors, host, "rewrite")) > 0 {
			notes = append(notes, fmt.Sprintf("registry %s is left as it is: the rewrite rules for its mirrors would change the names that Shoal is asked for.", host))
			return true
		}
		return false
	}
	out = text
	// The first to be put in comes last in the file.
	for _, host := range slices.Backward(slices.Sorted(maps.Keys(all))) {
		if rewrites(host) {
			continue
		}
		var others []any
		if host != "*" && len(endpointsOf(tree, host)) == 0 && len(table(tree, "configs", host)) == 0 {
			// So far the endpoints of "*" hold for it.
			if others = endpointsOf(tree, "*"); len(others) > 0 && rewrites("*") {
				continue
			}
		}
		next, h, err := addEndpoint(out, mirror, host, others)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%w: add %s as the first of mirrors, %s, endpoint by hand", err, mirror, host)
		}
		out, hunks = next, append(hunks, h...)
	}
	return out, hunks, notes, nil
}

var errYAML = errors.New("the mirror cannot be put in without changing more")

func endpointsOf(tree map[string]any, host string) []any {
	list, _ := lookup(tree, "mirrors", host, "endpoint").([]any)
	return list
}

// addEndpoint puts the mirror before the endpoints of a registry. One that has
// none gets others besides.
func addEndpoint(text []byte, mirror, host string, others []any) ([]byte, []undo.Hunk, error) {
	before, err := decodeYAML(text)
	if err != nil {
		return nil, nil, err
	}
	endpoints := endpointsOf(before, host)
	for _, e := range endpoints {
		if s, _ := e.(string); sameHost(s, mirror) {
			return text, nil, nil
		}
	}
	items := []string{quote(mirror)}
	for _, o := range others {
		s, ok := o.(string)
		if !ok {
			return nil, nil, errYAML
		}
		items = append(items, quote(s))
	}
	e, ok := endpointEdit(text, mirror, host, items)
	if !ok {
		return nil, nil, errYAML
	}
	out, h := e.Apply(text)
	after, err := decodeYAML(out)
	put(before, slices.Concat([]any{mirror}, others, endpoints), "mirrors", host, "endpoint")
	if err != nil || !reflect.DeepEqual(before, after) {
		return nil, nil, errYAML
	}
	return out, []undo.Hunk{h}, nil
}

// endpointEdit finds how deep the path mirrors, host, endpoint goes already,
// and inserts what lacks. It may be wrong, which the caller finds out.
func endpointEdit(text []byte, mirror, host string, items []string) (undo.Edit, bool) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return undo.Edit{}, false
	}
	path := []string{"mirrors", host, "endpoint"}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return undo.AtEnd(text, mirror, nested(path, "", items)...), true
	}
	node := doc.Content[0]
	var key *yaml.Node
	for depth, name := range path {
		k, v := child(node, name)
		if v == nil {
			rest := path[depth:]
			switch {
			case node.Kind != yaml.MappingNode:
				return undo.Edit{}, false
			case node.Style&yaml.FlowStyle != 0:
				return inFlow(text, node, flow(rest, items), mirror)
			case key == nil:
				return undo.AtEnd(text, mirror, nested(rest, spaces(node.Column), items)...), true
			}
			return undo.AfterLine(text, offset(text, key), mirror, nested(rest, spaces(node.Column), items)...), true
		}
		key, node = k, v
		if isNull(node) {
			if node.Value != "" {
				return undo.Edit{}, false
			}
			return undo.AfterLine(text, offset(text, key), mirror, nested(path[depth+1:], spaces(key.Column)+"  ", items)...), true
		}
	}
	switch {
	case node.Kind != yaml.SequenceNode:
		return undo.Edit{}, false
	case node.Style&yaml.FlowStyle != 0:
		return inFlow(text, node, strings.Join(items, ", "), mirror)
	}
	return undo.AfterLine(text, offset(text, key), mirror, nested(nil, spaces(node.Column), items)...), true
}

// nested is a list of endpoints below a path of keys.
func nested(path []string, indent string, items []string) []string {
	var out []string
	for _, name := range path {
		if strings.ContainsAny(name, "*:") {
			name = quote(name)
		}
		out = append(out, indent+name+":")
		indent += "  "
	}
	for _, item := range items {
		out = append(out, indent+"- "+item)
	}
	return out
}

// flow is the same in one line.
func flow(path, items []string) string {
	out := "[" + strings.Join(items, ", ") + "]"
	for i := len(path) - 1; i >= 0; i-- {
		out = quote(path[i]) + ": " + out
		if i > 0 {
			out = "{" + out + "}"
		}
	}
	return out
}

// inFlow inserts behind the opening bracket of a mapping or list in one line.
func inFlow(text []byte, node *yaml.Node, item, mark string) (undo.Edit, bool) {
	at := offset(text, node)
	for at < len(text) && text[at] != '[' && text[at] != '{' { // an anchor or tag comes first
		at++
	}
	if at == len(text) {
		return undo.Edit{}, false
	}
	if len(node.Content) > 0 {
		item += ", "
	}
	return undo.Edit{At: at + 1, Text: item, Mark: mark}, true
}

func child(node *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func spaces(column int) string { return strings.Repeat(" ", max(column-1, 0)) }

// offset is where a node begins. Its column counts characters.
func offset(text []byte, n *yaml.Node) int {
	at := 0
	for range n.Line - 1 {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			return len(text)
		}
		at += end + 1
	}
	chars := 0
	for i := range string(text[at:]) {
		if chars == n.Column-1 {
			return at + i
		}
		chars++
	}
	return len(text)
}

// decodeYAML decodes a file that holds one mapping, or nothing.
func decodeYAML(text []byte) (map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var tree, more any
	if err := d.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it is not valid YAML: %w", err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	if tree == nil {
		return map[string]any{}, nil
	}
	m, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a mapping with the keys mirrors and configs")
	}
	return m, nil
}
