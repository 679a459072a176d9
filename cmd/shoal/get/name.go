package get

import (
	"mime"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how long a name that the remote side chose may be, in bytes. What
// the part adds to it still fits into the 255 bytes of file systems.
const maxName = 200

// fallback names the file of a URL that names none.
const fallback = "download"

// NameOf is the name of a URL's file: the last element of its path, made safe.
func NameOf(u *url.URL) string {
	escaped := u.EscapedPath()
	last := escaped[strings.LastIndexByte(escaped, '/')+1:]
	if plain, err := url.PathUnescape(last); err == nil {
		last = plain
	}
	if name := safe(last); name != "" {
		return name
	}
	return fallback
}

// attached is the name in a Content-Disposition header, made safe; "" if it has
// none.
func attached(header string) string {
	_, params, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	name := path.Base(strings.ReplaceAll(params["filename"], `\`, "/"))
	if name == "/" || name == "." {
		return ""
	}
	return safe(name)
}

// safe makes a file name of what someone else chose: it is no path, is not
// hidden, looks like no flag, and does nothing to a terminal. It is "" if nothing
// is left.
func safe(name string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
			return '_'
		}
		return r
	}, name))
	if rest := strings.TrimLeft(name, ".-~"); rest != name {
		if rest == "" {
			return ""
		}
		name = "_" + rest
	}
	return cut(name, maxName)
}

// cut shortens a string to n bytes, not inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// printable is a name that may be shown on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
}
