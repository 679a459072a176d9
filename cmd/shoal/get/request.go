package get

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/shoal-p2p/shoal/internal/version"
)

// maxRedirects is how often a source may send us elsewhere, as in browsers.
const maxRedirects = 20

// ParseURL reads the URL of a file. Its user name and password, if it has them,
// become an Authorization header later. Errors show neither these nor the query.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // which does not repeat all of s
		}
		return nil, fmt.Errorf("URL: %w", hideQuoted(err))
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL %s: it has to begin with http:// or https://", shown(u))
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("URL %s: it names no host", shown(u))
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// hideQuoted drops what a parse error quotes: a piece of the URL, which may be a
// password.
func hideQuoted(err error) error {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return errors.New(strings.TrimRight(text, " "))
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return cut(printable(plain.String()), 300)
}

// task identifies the content that an output is of, for its part: the URL without
// credentials and what does not name content, and the range.
func task(u *url.URL, filter []string, r Range) string {
	query := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		return slices.Contains(filter, name)
	})
	plain := url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: u.Path, RawPath: u.RawPath, RawQuery: strings.Join(query, "&")}
	sum := sha256.Sum256([]byte(plain.String() + "\n" + r.String()))
	return hex.EncodeToString(sum[:])
}

// ask asks for what a download lacks, and follows the source to where it has it.
func (d *download) ask(ctx context.Context) (*http.Response, error) {
	at := d.url
	for range maxRedirects + 1 {
		resp, err := d.o.Engine.RoundTrip(d.request(ctx, at))
		if err != nil {
			return nil, err
		}
		to, err := moved(resp, at)
		if to == nil && err == nil {
			return resp, nil
		}
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		at = to
	}
	return nil, failed(Refused, "it redirects more than %d times", maxRedirects)
}

// moved is where an answer redirects to, nil if it does not.
func moved(resp *http.Response, from *url.URL) (*url.URL, error) {
	to := resp.Header.Get("Location")
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if to == "" {
		return nil, nil
	}
	u, err := from.Parse(to)
	if err != nil {
		return nil, failed(Refused, "it redirects to what is no URL: %w", hideQuoted(err))
	}
	return u, nil
}

// request asks a source for what a download lacks.
func (d *download) request(ctx context.Context, at *url.URL) *http.Request {
	plain := *at
	plain.User = nil
	req := (&http.Request{Method: http.MethodGet, URL: &plain, Host: plain.Host, Header: d.headers(at)}).WithContext(ctx)
	def := func(key, value string) {
		if _, ok := req.Header[key]; !ok {
			req.Header.Set(key, value)
		}
	}
	def("User-Agent", "shoal/"+version.This().Version)
	def("Accept", "*/*")
	def("Accept-Encoding", "identity") // what is hashed and resumed is the file itself
	req.Header.Set("Shoal-Get", "p2p")
	if d.o.Source {
		req.Header.Set("Shoal-Get", "source")
	}
	if d.o.Keep {
		req.Header.Set("Shoal-Keep", "1")
	}
	if len(d.o.Filter) > 0 {
		req.Header.Set("Shoal-Filter", filterHeader(d.o.Filter))
	}
	if want := d.digest(); want != "" && d.vouched {
		req.Header.Set("Shoal-Digest", want.String())
	}
	wanted := d.o.Range.String()
	if d.offset > 0 {
		req.Header.Set("If-Range", d.content.Validator)
		req.Header.Set("Shoal-Resume", cmp.Or(wanted, "1"))
		wanted = d.content.from(d.offset)
	}
	if wanted != "" {
		req.Header.Set("Range", wanted)
	}
	return req
}

// harmless are headers of the user that any host may see.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "User-Agent"}

// headers are those of the user for a source. An origin to which the source that
// the user named redirects gets only what cannot be a credential.
func (d *download) headers(at *url.URL) http.Header {
	h := http.Header{}
	ours := origin(at) == origin(d.url)
	for key, values := range d.o.Header {
		if ours || slices.Contains(harmless, key) {
			h[key] = slices.Clone(values)
		}
	}
	if user := d.url.User; ours && user != nil && h.Get("Authorization") == "" {
		password, _ := user.Password()
		(&http.Request{Header: h}).SetBasicAuth(user.Username(), password)
	}
	return h
}

// origin is scheme, host and port of a URL.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
