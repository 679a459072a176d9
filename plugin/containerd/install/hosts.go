package install

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/undo"
)

// addHost puts the mirror before all hosts of a hosts.toml. A file that has the
// mirror is left as it is: no hunks.
func addHost(text []byte, mirror string) ([]byte, []undo.Hunk, error) {
	tree, err := decodeTOML(text)
	if err != nil {
		return nil, nil, err
	}
	for host := range table(tree, "host") {
		if sameHost(host, mirror) {
			return text, nil, nil
		}
	}
	block := []string{"# Put here by shoal install containerd.", "[host." + quote(mirror) + "]", `  capabilities = ["pull", "resolve"]`}
	first := slices.IndexFunc(expressions(text), func(x expression) bool { return x.table && x.key[0] == "host" })
	var e undo.Edit
	switch {
	case first >= 0:
		// Above the comment that belongs to the first host.
		at := undo.LineStart(text, expressions(text)[first].start)
		for at > 0 {
			above := undo.LineStart(text, at-1)
			if !strings.HasPrefix(strings.TrimLeft(string(text[above:at]), " \t"), "#") {
				break
			}
			at = above
		}
		e = undo.Edit{At: at, Text: undo.Lines(text, append(block, "")...), Mark: mirror}
	case len(strings.TrimSpace(string(text))) > 0:
		// Behind the keys of the upstream itself, which would else become the mirror's.
		e = undo.AtEnd(text, mirror, append([]string{""}, block...)...)
	default:
		e = undo.AtEnd(text, mirror, block...)
	}
	out, h := e.Apply(text)
	if !differOnlyAt(text, out, "host", mirror) {
		return nil, nil, fmt.Errorf("the mirror cannot be put in without changing more: add [host.%s] with capabilities = [\"pull\", \"resolve\"] by hand, as the first host", quote(mirror))
	}
	return out, []undo.Hunk{h}, nil
}

// sameHost compares two addresses of hosts as containerd understands them. To
// it, one that ends in a slash is another.
func sameHost(a, b string) bool {
	clean := func(s string) string {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "/v2/"), "/v2")
		if !strings.HasPrefix(s, "http") {
			s = "https://" + s
		}
		return s
	}
	return clean(a) == clean(b)
}

// ofCertificates is the hosts.toml that means what a folder with certificates
// alone means: keys at the top without a server are about the registry itself.
// dir is put before the names; they are relative to the folder if it is "".
func ofCertificates(dir string, names []string) []byte {
	var ca, client []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		file := quote(path.Join(dir, name))
		if strings.HasSuffix(name, ".crt") {
			ca = append(ca, file)
		}
		if stem, ok := strings.CutSuffix(name, ".cert"); ok {
			key := file // one file may hold both
			if slices.Contains(names, stem+".key") {
				key = quote(path.Join(dir, stem+".key"))
			}
			client = append(client, "["+file+", "+key+"]")
		}
	}
	var out strings.Builder
	if len(ca)+len(client) > 0 {
		out.WriteString("# The certificates of this folder, which containerd takes by itself only\n# where there is no hosts.toml.\n")
	}
	if len(ca) > 0 {
		fmt.Fprintf(&out, "ca = [%s]\n", strings.Join(ca, ", "))
	}
	if len(client) > 0 {
		fmt.Fprintf(&out, "client = [%s]\n", strings.Join(client, ", "))
	}
	return []byte(out.String())
}

// movable refuses a hosts.toml that names files relative to its own folder.
func movable(text []byte) error {
	tree, err := decodeTOML(text)
	if err != nil {
		return err
	}
	var relative func(v any) bool
	relative = func(v any) bool {
		switch v := v.(type) {
		case string:
			return v != "" && !path.IsAbs(v)
		case []any:
			return slices.ContainsFunc(v, relative)
		}
		return false
	}
	entries := []map[string]any{tree}
	for host := range table(tree, "host") {
		entries = append(entries, table(tree, "host", host))
	}
	for _, e := range entries {
		if relative(e["ca"]) || relative(e["client"]) {
			return errors.New("it names certificates relative to its folder, so that it cannot be copied: give them whole paths, or install without --registry")
		}
	}
	return nil
}
