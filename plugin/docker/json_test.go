package docker

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/undo"
)

func indented(t *testing.T, tree map[string]any) string {
	t.Helper()
	text, err := json.MarshalIndent(tree, "", "   ")
	require.NoError(t, err)
	return string(text)
}

func TestReadConfig(t *testing.T) {
	text := "\xef\xbb\xbf" + `{"registry-mirrors": ["a", "b"], "proxies": {"no-proxy": "n", "https-proxy": "s", "http-proxy": "h"}, "debug": true}`
	d, err := ReadConfig([]byte(text))
	require.NoError(t, err)
	require.Equal(t, &Daemon{Mirrors: []string{"a", "b"}, HTTPProxy: "h", HTTPSProxy: "s", NoProxy: "n"}, d)
	d, err = ReadConfig(nil)
	require.NoError(t, err)
	require.Equal(t, &Daemon{}, d)
	for text, want := range map[string]string{
		"{\n\"proxies\": []}":                        "\"proxies\" is not an object in braces, line 2",
		"{\"proxies\": {\n\"http-proxy\": 1}}":       "\"http-proxy\" is not a string, line 2",
		"{\"registry-mirrors\": [\"a\",\nfalse]}":    "\"registry-mirrors\" is not a list of strings, line 1",
		"{\"proxies\": {}, \n\"proxies\": {}}":       "\"proxies\" stands there twice, on lines 1 and 2",
		"{\"a\": {}, \n\"b\": \n{\"c\": [1, 2\n3]}}": "it is not valid JSON, line 4",
	} {
		_, err := ReadConfig([]byte(text))
		require.ErrorContains(t, err, want)
	}
}

// FuzzDaemonJSON edits any file, and takes that back from what a program made of
// it.
func FuzzDaemonJSON(f *testing.F) {
	files, err := filepath.Glob("testdata/*/before/etc/docker/daemon.json")
	require.NoError(f, err)
	require.Greater(f, len(files), 10)
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil { // not a link that leads out of the tree
			f.Add(text, true)
			f.Add(text, false)
		}
	}
	f.Add([]byte(`{"a":{"registry-mirrors":[1]},"registry-mirrors":[ ],"proxies":{ }}`), true)
	f.Add([]byte(`{"registry\u002dmirrors" :[ "x" ,"http://127.0.0.1:65001/", "y" ] , "proxies" : {"no-proxy":null}}`), true)
	f.Fuzz(func(t *testing.T, text []byte, proxy bool) {
		s := settings{mirror: testMirror}
		if proxy {
			s.proxies = proxiesFor(testMirror)
		}
		out, _, err := s.edit(text)
		if err != nil {
			return
		}
		before, err := decode(text)
		require.NoError(t, err)
		after, err := decode(out)
		require.NoError(t, err)
		require.True(t, sameAddress(testMirror, after[mirrorsKey].([]any)[0].(string)))
		if proxy {
			require.Equal(t, testMirror, after[proxiesKey].(map[string]any)["https-proxy"])
		}
		again, _, err := s.edit(out)
		require.NoError(t, err)
		require.Equal(t, out, again, "once is enough")

		// Whatever else it says is the same, and so it is when ours is taken out.
		was, put := mirrors(before), mirrors(after)
		require.Subset(t, append(was, testMirror, testMirror+"/"), put)
		for _, now := range [][]byte{out, []byte(indented(t, after))} {
			now, ok := takeOut(now, text, undo.Written{Text: out})
			require.True(t, ok)
			is, err := decode(now)
			require.NoError(t, err)
			if !slices.ContainsFunc(was, func(m string) bool { return sameAddress(m, testMirror) }) {
				require.Equal(t, was, mirrors(is))
			}
			for _, key := range proxyKeys {
				require.Equal(t, proxyOf(before, key), proxyOf(is, key))
			}
			require.Equal(t, others(before), others(is))
		}
		require.Equal(t, others(before), others(after))
	})
}

func mirrors(tree map[string]any) (all []string) {
	list, _ := tree[mirrorsKey].([]any)
	for _, m := range list {
		all = append(all, m.(string))
	}
	return all
}

func proxyOf(tree map[string]any, key string) string {
	proxies, _ := tree[proxiesKey].(map[string]any)
	proxy, _ := proxies[key].(string)
	return proxy
}

// others are the keys that are none of ours.
func others(tree map[string]any) map[string]any {
	tree = maps.Clone(tree)
	delete(tree, mirrorsKey)
	delete(tree, proxiesKey)
	return tree
}
