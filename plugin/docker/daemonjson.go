package docker

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/shoal-p2p/shoal/internal/undo"
)

const (
	mirrorsKey = "registry-mirrors"
	proxiesKey = "proxies"
	noProxyKey = "no-proxy"
)

// proxyKeys are those of "proxies", in the order in which they are written.
var proxyKeys = []string{"http-proxy", "https-proxy", noProxyKey}

// settings are what is put into daemon.json.
type settings struct {
	mirror string
	// proxies are by key; none if the proxy is not set there. What the file says
	// of no-proxy goes before.
	proxies map[string]string
}

// edit puts the settings into a daemon.json. replaced is the proxy that was set
// there before, "" if there was none.
func (s settings) edit(text []byte) (out []byte, replaced string, err error) {
	d, err := parse(text)
	if err != nil {
		return nil, "", err
	}
	if err := d.putFirst(s.mirror); err != nil {
		return nil, "", err
	}
	if len(s.proxies) > 0 {
		if replaced, err = d.setProxies(s.proxies); err != nil {
			return nil, "", err
		}
	}
	out = d.bytes()
	wanted, err := decode(text)
	if err != nil {
		return nil, "", err
	}
	s.putInto(wanted)
	if is, err := decode(out); err != nil || !reflect.DeepEqual(wanted, is) {
		return nil, "", fmt.Errorf("it is written so that it cannot be changed without changing more: put %q first in %q by hand", s.mirror, mirrorsKey)
	}
	return out, replaced, nil
}

// putInto does to what a file says what edit does to its text.
func (s settings) putInto(tree map[string]any) {
	mirrors, _ := tree[mirrorsKey].([]any)
	ours := func(m any) bool { return sameAddress(m.(string), s.mirror) }
	if len(mirrors) == 0 || !ours(mirrors[0]) {
		tree[mirrorsKey] = append([]any{s.mirror}, slices.DeleteFunc(mirrors, ours)...)
	}
	if len(s.proxies) == 0 {
		return
	}
	proxies, ok := tree[proxiesKey].(map[string]any)
	if !ok {
		proxies = map[string]any{}
		tree[proxiesKey] = proxies
	}
	for key, value := range s.proxies {
		if was, _ := proxies[key].(string); was == "" || key != noProxyKey {
			proxies[key] = value
		}
	}
}

// sameAddress compares two addresses of mirrors as dockerd does.
func sameAddress(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

// putFirst makes an address the first mirror.
func (d *document) putFirst(mirror string) error {
	list, all, err := d.strings(mirrorsKey)
	if err != nil || len(all) > 0 && sameAddress(all[0], mirror) {
		return err
	}
	if list == nil {
		list = &hujson.Array{}
		if err := d.set(d.Object, mirrorsKey, list); err != nil {
			return err
		}
	}
	removeStrings(list, all, mirror)
	insertFirst(list, mirror)
	return nil
}

// removeStrings takes an address out of a list of mirrors.
func removeStrings(list *hujson.Array, all []string, mirror string) {
	for i, m := range slices.Backward(all) {
		if sameAddress(m, mirror) {
			removeString(list, i)
		}
	}
}

// object is a member that is an object, nil if there is none, or null.
func (d *document) object(name string) (*hujson.Object, error) {
	i, err := d.find(d.Object, name)
	if i < 0 {
		return nil, err
	}
	value := d.Members[i].Value
	obj, ok := value.Value.(*hujson.Object)
	if !ok && value.Value.Kind() != 'n' {
		return nil, fmt.Errorf("%q is not an object in braces, line %d", name, d.line(value.StartOffset))
	}
	return obj, nil
}

// textOf is a member that is a string, "" if there is none.
func (d *document) textOf(obj *hujson.Object, name string) (string, error) {
	i, err := d.find(obj, name)
	if i < 0 {
		return "", err
	}
	value := obj.Members[i].Value
	if value.Value.Kind() == 'n' {
		return "", nil
	}
	if value.Value.Kind() != '"' {
		return "", fmt.Errorf("%q is not a string, line %d", name, d.line(value.StartOffset))
	}
	return value.Value.(hujson.Literal).String(), nil
}

// setProxies sets the proxies. replaced is one that was set before.
func (d *document) setProxies(proxies map[string]string) (replaced string, err error) {
	obj, err := d.object(proxiesKey)
	if err != nil {
		return "", err
	}
	if obj == nil {
		obj = &hujson.Object{}
		if err := d.set(d.Object, proxiesKey, obj); err != nil {
			return "", err
		}
	}
	for _, key := range proxyKeys {
		was, err := d.textOf(obj, key)
		if err != nil {
			return "", err
		}
		if was == proxies[key] || key == noProxyKey && was != "" {
			continue
		}
		if was != "" {
			replaced = was
		}
		if err := d.set(obj, key, hujson.String(proxies[key])); err != nil {
			return "", err
		}
	}
	return replaced, nil
}

// takeOut takes what was put into a daemon.json, in place of what was there, out
// of one that has changed since.
func takeOut(now, was []byte, v undo.Written) ([]byte, bool) {
	var docs [3]*document
	var trees [3]map[string]any
	for i, text := range [][]byte{now, was, v.Text} {
		var err1, err2 error
		docs[i], err1 = parse(text)
		trees[i], err2 = decode(text)
		if err1 != nil || err2 != nil {
			return nil, false
		}
	}
	d := docs[0]
	put := func(key string) bool { return !reflect.DeepEqual(trees[1][key], trees[2][key]) }
	if put(mirrorsKey) && d.takeOutMirror(docs[1], docs[2]) != nil || put(proxiesKey) && d.takeOutProxies(docs[1], docs[2]) != nil {
		return nil, false
	}
	if was == nil && len(d.Members) == 0 {
		return nil, true
	}
	return d.bytes(), true
}

func (d *document) takeOutMirror(was, put *document) error {
	_, before, err := was.strings(mirrorsKey)
	if err != nil {
		return err
	}
	_, after, err := put.strings(mirrorsKey)
	if err != nil {
		return err
	}
	list, all, err := d.strings(mirrorsKey)
	if err != nil || list == nil {
		return err
	}
	mirror := after[0]
	if slices.ContainsFunc(before, func(m string) bool { return sameAddress(m, mirror) }) {
		return nil // it was there, but not first
	}
	removeStrings(list, all, mirror)
	if i, err := was.find(was.Object, mirrorsKey); err == nil && i < 0 && len(list.Elements) == 0 {
		return d.remove(d.Object, mirrorsKey)
	}
	return nil
}

func (d *document) takeOutProxies(was, put *document) error {
	var objs [3]*hujson.Object
	for i, doc := range []*document{d, was, put} {
		var err error
		if objs[i], err = doc.object(proxiesKey); err != nil {
			return err
		}
		if objs[i] == nil {
			objs[i] = &hujson.Object{}
		}
	}
	for _, key := range proxyKeys {
		var texts [3]string
		for i, doc := range []*document{d, was, put} {
			var err error
			if texts[i], err = doc.textOf(objs[i], key); err != nil {
				return err
			}
		}
		switch is, before, after := texts[0], texts[1], texts[2]; {
		case before == after || is != after:
		case before != "":
			if err := d.set(objs[0], key, hujson.String(before)); err != nil {
				return err
			}
		default:
			if err := d.remove(objs[0], key); err != nil {
				return err
			}
		}
	}
	if i, err := was.find(was.Object, proxiesKey); err == nil && i < 0 && len(objs[0].Members) == 0 {
		return d.remove(d.Object, proxiesKey)
	}
	return nil
}
