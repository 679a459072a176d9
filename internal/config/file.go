package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// loadFile reads a YAML file whose keys are all known. Those that the command
// does not take are left out, so that one file serves all of a cluster.
func loadFile(k *koanf.Koanf, command string, data []byte) error {
	tree, err := yaml.Parser().Unmarshal(data)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if err := flatten(values, "", tree, 0); err != nil {
		return err
	}
	for _, key := range Keys {
		if !key.Takes(command) {
			delete(values, key.Name)
		}
	}
	return k.Load(confmap.Provider(values, "."), nil)
}

// maxDepth is more than any key has.
const maxDepth = 8

// flatten adds the values of a section under their keys. A section may be
// nested, or written with dots as in the documentation. What is empty counts as
// not set.
func flatten(values map[string]any, section string, tree map[string]any, depth int) error {
	if depth > maxDepth {
		return errors.New("its sections are nested too deep")
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key, value := section+name, tree[name]
		if isKey(key) {
			if value == nil {
				continue
			}
			if _, twice := values[key]; twice {
				return fmt.Errorf("%s is set twice", key)
			}
			if m, ok := mapping(value); ok {
				value = leaf(m)
			}
			values[key] = value
			continue
		}
		m, ok := mapping(value)
		switch {
		case isSection(key) && value == nil:
		case isSection(key) && !ok:
			return fmt.Errorf("%s is %v: it holds keys such as %s", key, value, firstIn(key))
		case !isSection(key) && len(m) == 0:
			return unknown(key)
		default:
			if err := flatten(values, key+".", m, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaf is a mapping as one value, which koanf does not look into: the names in
// it may hold dots.
type leaf map[string]any

func mapping(value any) (map[string]any, bool) {
	switch m := value.(type) {
	case map[string]any:
		return m, true
	case map[any]any: // a name is a number
		out := map[string]any{}
		for name, v := range m {
			out[fmt.Sprint(name)] = v
		}
		return out, true
	default:
		return nil, false
	}
}

func isKey(name string) bool {
	return slices.Contains(lists, name) || slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == name })
}

func isSection(name string) bool { return firstIn(name) != "" }

// firstIn is the first key of a section, "" if there is none.
func firstIn(section string) string {
	for _, k := range Keys {
		if strings.HasPrefix(k.Name, section+".") {
			return k.Name
		}
	}
	return ""
}

func unknown(key string) error {
	names := slices.Clone(lists)
	for _, k := range Keys {
		names = append(names, k.Name)
	}
	return fmt.Errorf("unknown key %q: did you mean %q?", key, nearest(key, names))
}
