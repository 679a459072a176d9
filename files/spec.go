package files

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/piece"
	"github.com/shoal-p2p/shoal/resolver"
)

// spec is how a file is asked for at its source, and which version of it is meant.
type spec struct {
	URL    string      `json:"url"`
	Header http.Header `json:"header,omitempty"` // of the request; it may hold credentials
	// Filter are the query parameters that do not name content.
	Filter []string `json:"filter,omitempty"`
	// Vary are request headers that name content (RFC 9110, section 12.5.5), and
	// Private says that the credentials do.
	Vary    []string `json:"vary,omitempty"`
	Private bool     `json:"private,omitempty"`

	Version resolver.Version `json:"version"`
	Size    int64            `json:"size"` // of the whole file, in bytes
	Part    *part            `json:"part,omitempty"`
	// Digest is that of the whole file, where the client knows it.
	Digest digest.Digest `json:"digest,omitempty"`
}

// part is a range of a file that is content of its own.
type part struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// id is the ID of what is meant, in the swarm.
func (s spec) id() digest.Digest {
	if s.Digest != "" && s.Part == nil {
		return s.Digest
	}
	names := []string{s.place(), s.Version.Name(), fmt.Sprint(s.Size)}
	if s.Part != nil {
		names = append(names, fmt.Sprintf("bytes %d+%d", s.Part.Offset, s.Part.Length))
	}
	return piece.FileID(names...)
}

// place names what was asked for, whatever its version.
func (s spec) place() string {
	names := []string{contentURL(s.URL, s.Filter)}
	for _, h := range s.Vary {
		names = append(names, h, strings.Join(s.Header.Values(h), ", "))
	}
	if s.Private {
		names = append(names, credentials(s.Header))
	}
	return piece.FileID(names...).Encoded()
}

// credentials names the credentials of a request; "" if it has none.
func credentials(h http.Header) string {
	var secret []string
	for name, values := range h {
		if !resolver.Harmless(name) {
			secret = append(secret, name+": "+strings.Join(values, ", "))
		}
	}
	if len(secret) == 0 {
		return ""
	}
	slices.Sort(secret)
	return piece.FileID(secret...).Encoded()
}

// contentURL is a URL as far as it names content: what means the same looks the
// same, and parameters that are filtered are gone.
func contentURL(raw string, filter []string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	c := url.URL{Scheme: u.Scheme, Host: host, Path: cmp.Or(u.Path, "/"), RawPath: u.RawPath}
	c.RawQuery = filtered(u.RawQuery, filter)
	return c.String()
}

// filtered is a query without some parameters, and otherwise as it was.
func filtered(query string, filter []string) string {
	if len(filter) == 0 || query == "" {
		return query
	}
	var kept []string
	for _, pair := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(name); err == nil {
			name = n
		}
		if !slices.Contains(filter, name) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

// encode is what p2p.Origin.File holds.
func (s spec) encode() string {
	b, err := json.Marshal(s)
	if err != nil { // strings and numbers always marshal
		return ""
	}
	return string(b)
}

// decode reads what another node has encoded, which must be what it says it is.
func decode(file string, id digest.Digest) (s spec, err error) {
	if err := json.Unmarshal([]byte(file), &s); err != nil {
		return s, fmt.Errorf("files: a request that cannot be read: %w", err)
	}
	switch u, err := url.Parse(s.URL); {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return s, errors.New("files: a request without an http or https URL")
	case s.Size < 0 || s.Part != nil && (s.Part.Offset < 0 || s.Part.Length < 0 || s.Part.Length > s.Size-s.Part.Offset):
		return s, errors.New("files: a request for a part that is not there")
	case s.Digest != "" && s.Digest.Validate() != nil:
		return s, errors.New("files: a request with a digest that is none")
	case s.id() != id:
		return s, errors.New("files: a request for something else than its ID says")
	}
	for name, values := range s.Header {
		if !validHeader(name, values) {
			return s, errors.New("files: a request with headers that are none")
		}
	}
	return s, nil
}
