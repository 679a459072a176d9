package get

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHeaders bounds a file of headers, in bytes.
const maxHeaders = 1 << 20

// taken are headers that the download itself needs, and what to use instead.
var taken = map[string]string{
	"Range":             "use --range",
	"If-Range":          "shoal get goes on by itself",
	"Host":              "it is that of the URL",
	"Content-Length":    "a download has no body",
	"Transfer-Encoding": "a download has no body",
	"Connection":        "it concerns the connection to the agent alone",
	"Keep-Alive":        "it concerns the connection to the agent alone",
	"Proxy-Connection":  "it concerns the connection to the agent alone",
	"Te":                "it concerns the connection to the agent alone",
	"Trailer":           "it concerns the connection to the agent alone",
	"Upgrade":           "it concerns the connection to the agent alone",
}

// AddHeader adds "Name: value" to h, or each line of the file that "@FILE" names.
// Errors name the header, never its value.
func AddHeader(h http.Header, s string) error {
	name, ok := strings.CutPrefix(s, "@")
	if !ok {
		return addHeader(h, s)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHeaders+1))
	if err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if len(data) > maxHeaders {
		return fmt.Errorf("headers: %s is larger than %d bytes", name, maxHeaders)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxHeaders+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := addHeader(h, line); err != nil {
			return fmt.Errorf("headers: %s, line %d: %w", name, n, err)
		}
	}
	return lines.Err()
}

func addHeader(h http.Header, s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		return fmt.Errorf("a header is 'Name: value', or @FILE with a header in each line")
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("a header's name has letters, digits and dashes, without a space before the colon")
	}
	value = textproto.TrimString(value)
	if !httpguts.ValidHeaderFieldValue(value) {
		return fmt.Errorf("header %s: its value has control characters", name)
	}
	key := http.CanonicalHeaderKey(name)
	if instead, ok := taken[key]; ok {
		return fmt.Errorf("header %s cannot be given: %s", name, instead)
	}
	if strings.HasPrefix(key, "Shoal-") || strings.HasPrefix(key, "Proxy-") {
		return fmt.Errorf("header %s cannot be given: it is for the agent, not for the source", name)
	}
	h.Add(key, value)
	return nil
}

// filterHeader is the value of Shoal-Filter.
func filterHeader(names []string) string {
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
	}
	return strings.Join(escaped, ", ")
}
