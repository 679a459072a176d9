package get

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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

// request asks for what a download lacks.
func (d *download) request(ctx context.Context) *http.Request {
	plain := *d.url
	plain.User = nil
	req := (&http.Request{Method: http.MethodGet, URL: &plain, Host: plain.Host, Header: d.o.Header.Clone()}).WithContext(ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	def := func(key, value string) {
		if _, ok := req.Header[key]; !ok {
			req.Header.Set(key, value)
		}
	}
	def("User-Agent", "shoal/"+version.This().Version)
	def("Accept", "*/*")
	def("Accept-Encoding", "identity") // what is hashed and resumed is the file itself
	if user := d.url.User; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	req.Header.Set("Shoal-Get", "p2p")
	if d.o.Source {
		req.Header.Set("Shoal-Get", "source")
	}
	if len(d.o.Filter) > 0 {
		req.Header.Set("Shoal-Filter", filterHeader(d.o.Filter))
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
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "If-Range", "Range", "User-Agent", "Shoal-Get", "Shoal-Filter", "Shoal-Resume"}

// redirect lets a source send us elsewhere. Another origin does not get the user's
// headers, since any of them may be a credential, nor the URL that led to it.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return failed(Refused, "the source redirects more than %d times", maxRedirects)
	}
	if _, ok := via[0].Header["Referer"]; !ok {
		req.Header.Del("Referer")
	}
	req.URL.User = nil
	if from := via[0].URL; req.URL.Scheme != from.Scheme || !strings.EqualFold(req.URL.Host, from.Host) {
		for key := range req.Header {
			if !slices.Contains(harmless, key) {
				req.Header.Del(key)
			}
		}
	}
	return nil
}
