package get

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRangesAreWrittenAsForCurl(t *testing.T) {
	for s, want := range map[string]string{
		"0-0": "bytes=0-0", "100-199": "bytes=100-199", "5-": "bytes=5-", "-7": "bytes=-7",
	} {
		r, err := ParseRange(s)
		require.NoError(t, err, s)
		require.Equal(t, want, r.String())
	}
	for _, s := range []string{"", "-", "-0", "5", "5-4", "a-b", "1-2,4-5", "+1-2", "--1", "1--2", " 1-2", "0x1-2", "-9223372036854775808", "0-9223372036854775807"} {
		_, err := ParseRange(s)
		require.ErrorContains(t, err, s, s)
	}
}

func TestARangeOfAFile(t *testing.T) {
	for _, c := range []struct {
		r                 string
		total, base, size int64
		ok                bool
	}{
		{"0-9", 100, 0, 10, true},
		{"90-200", 100, 90, 10, true},
		{"100-", 100, 0, 0, false},
		{"99-", 100, 99, 1, true},
		{"-10", 100, 90, 10, true},
		{"-200", 100, 0, 100, true},
		{"-1", 0, 0, 0, false},
		{"5-", -1, 5, -1, true},
		{"5-9", -1, 5, 5, true},
	} {
		r, err := ParseRange(c.r)
		require.NoError(t, err)
		base, size, ok := r.of(c.total)
		require.Equal(t, c.ok, ok, c)
		if ok {
			require.Equal(t, [2]int64{c.base, c.size}, [2]int64{base, size}, c)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 5-5/*", "bytes */10", "bytes 9-0/10", "bytes 0-10/10", "BYTES 1-2/3", "items 0-1/2", "bytes 0-18446744073709551615/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := contentRange(s)
		if ok {
			require.True(t, 0 <= first && first <= last && (total == -1 || last < total), s)
		}
		if r, err := ParseRange(s); err == nil {
			again, err := ParseRange(strings.TrimPrefix(r.String(), "bytes="))
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}

func TestRatesAreWrittenAsForCurl(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "200K": 200 << 10, "10M": 10 << 20, "10m": 10 << 20, "1.5G": 3 << 29, "1T": 1 << 40, "2p": 2 << 50} {
		got, err := ParseRate(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "0", "0.1", "M", "-1", "+1", "1e9", "1MB", "inf", "nan", "1 M", "9999999999P", "1.2.3", "0x10", "1_0"} {
		_, err := ParseRate(s)
		require.Error(t, err, s)
	}
}

func FuzzParseRate(f *testing.F) {
	f.Add("10M")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseRate(s); err == nil {
			require.Positive(t, n)
			b := newBrake(n)
			require.NotEmpty(t, b.fit(make([]byte, buffer)))
		}
	})
}

func TestNamesFromTheURL(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h/a/b.tar.gz?x=/etc/passwd":    "b.tar.gz",
		"http://h":                             fallback,
		"http://h/":                            fallback,
		"http://h/dir/":                        fallback,
		"http://h/a%2F..%2Fb":                  "a_.._b",
		"http://h/%2e%2e":                      fallback,
		"http://h/..%5c..%5cx":                 "_\\..\\x",
		"http://h/.bashrc":                     "_bashrc",
		"http://h/-rf":                         "_rf",
		"http://h/%1b[31mred%0a":               "_[31mred_",
		"http://h/%E2%80%AEgnp.exe":            "_gnp.exe",
		"http://h/%ff%fe":                      "__",
		"http://h/%C3%BCber%20uns.pdf":         "über uns.pdf",
		"http://h/" + strings.Repeat("ü", 300): strings.Repeat("ü", maxName/2),
	} {
		u, err := ParseURL(raw)
		require.NoError(t, err, raw)
		require.Equal(t, strings.ReplaceAll(want, `\`, "_"), NameOf(u), raw)
	}
}

func TestNamesFromTheSource(t *testing.T) {
	for header, want := range map[string]string{
		`attachment; filename=a.bin`:                           "a.bin",
		`attachment; filename="a b.bin"`:                       "a b.bin",
		`inline; filename="x"; filename*=UTF-8''%e2%82%ac.txt`: "€.txt",
		`attachment; filename="../../etc/passwd"`:              "passwd",
		`attachment; filename="C:\\x\\evil.exe"`:               "evil.exe",
		`attachment; filename="/"`:                             "",
		`attachment; filename=".."`:                            "",
		`attachment; filename=".ssh"`:                          "_ssh",
		`attachment; filename*=UTF-8''..%2f..%2f.profile`:      "_profile",
		`attachment; filename="` + "a\x00b" + `"`:              "a_b",
		`attachment`: "", ``: "", `;;;`: "",
	} {
		require.Equal(t, want, attached(header), header)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"../x", "..", "\xff", "-", `a\b`, "%2e%2e%2f"} {
		f.Add(s)
	}
	check := func(t *testing.T, name string) {
		if name == "" {
			return
		}
		require.True(t, utf8.ValidString(name))
		require.LessOrEqual(t, len(name), maxName+4)
		require.Equal(t, name, filepath.Base(name))
		require.NotContains(t, ".-~", name[:1])
		require.Equal(t, name, printable(name))
		require.LessOrEqual(t, len(partName(name)+".json"), 255)
	}
	f.Fuzz(func(t *testing.T, s string) {
		check(t, safe(s))
		check(t, attached("attachment; filename=\""+s+"\""))
		check(t, NameOf(&url.URL{Scheme: "http", Host: "h", Path: "/" + s}))
		require.LessOrEqual(t, len(partName(s)+".json"), 255)
		require.True(t, utf8.ValidString(printable(s)))
	})
}

func TestHeadersMayHoldCommasAndColons(t *testing.T) {
	h := http.Header{}
	require.NoError(t, AddHeader(h, "X-List: a, b: c,d"))
	require.NoError(t, AddHeader(h, "x-list:again"))
	require.NoError(t, AddHeader(h, "User-Agent:"))
	require.Equal(t, http.Header{"X-List": {"a, b: c,d", "again"}, "User-Agent": {""}}, h)
}

func TestHeadersComeFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	require.NoError(t, os.WriteFile(file, []byte("# who we are\nAuthorization: Bearer s3cret\r\n\nX-A: 1\n"), 0o600))
	h := http.Header{}
	require.NoError(t, AddHeader(h, "@"+file))
	require.Equal(t, http.Header{"Authorization": {"Bearer s3cret"}, "X-A": {"1"}}, h)

	require.NoError(t, os.WriteFile(file, []byte("X-A: 1\ns3cret\n"), 0o600))
	err := AddHeader(h, "@"+file)
	require.ErrorContains(t, err, "line 2")
	require.NotContains(t, err.Error(), "s3cret")
	require.ErrorContains(t, AddHeader(h, "@"+file+"not"), "no such file")
	require.NoError(t, os.WriteFile(file, make([]byte, maxHeaders+1), 0o600))
	require.ErrorContains(t, AddHeader(h, "@"+file), "larger than")
}

func TestHeadersThatWouldHarmAreRefused(t *testing.T) {
	for s, want := range map[string]string{
		"Range: bytes=0-1":            "--range",
		"if-range: s3cret":            "goes on by itself",
		"Host: s3cret":                "of the URL",
		"Transfer-Encoding: s3cret":   "no body",
		"Shoal-Get: s3cret":           "for the agent",
		"Proxy-Authorization: s3cret": "for the agent",
		"X-A: s3cret\r\nX-B: 2":       "control characters",
		"s3cret":                      "'Name: value'",
		"X A: s3cret":                 "letters, digits",
		": s3cret":                    "letters, digits",
	} {
		h := http.Header{}
		err := AddHeader(h, s)
		require.ErrorContains(t, err, want, s)
		require.NotContains(t, err.Error(), "s3cret")
		require.Empty(t, h)
	}
}

func FuzzAddHeader(f *testing.F) {
	f.Add("X-A: b")
	f.Add("X-A:\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "@") {
			return
		}
		h := http.Header{}
		if AddHeader(h, s) != nil {
			require.Empty(t, h)
			return
		}
		for key, values := range h {
			require.NotContains(t, key+values[0], "\n")
			require.NotContains(t, key+values[0], "\r")
		}
	})
}

func TestFilterNamesAreEscaped(t *testing.T) {
	require.Equal(t, "sig, a%2Cb, c%20d%2B", filterHeader([]string{"sig", "a,b", "c d+"}))
}

func TestDigests(t *testing.T) {
	hex := strings.Repeat("Ab", 32)
	d, err := ParseDigest("SHA256:" + hex)
	require.NoError(t, err)
	require.Equal(t, "sha256:"+strings.ToLower(hex), d.String())
	for _, s := range []string{"", hex, "sha256:abc", "sha1:" + hex, "md5:" + hex[:32]} {
		_, err := ParseDigest(s)
		require.ErrorContains(t, err, "sha384:", s)
	}
	m, err := ParseMD5("900150983CD24FB0D6963F7D28E17F72")
	require.NoError(t, err)
	sums := newSums([]digest.Digest{m})
	_, _ = sums.Write([]byte("abc"))
	require.NoError(t, sums.check())
	_, _ = sums.Write([]byte("d"))
	require.Equal(t, Mismatch, KindOf(sums.check()))
	_, err = ParseMD5("abc")
	require.ErrorContains(t, err, "32")
}

func TestURLs(t *testing.T) {
	for _, s := range []string{"http://h/a", "https://[::1]:8/a", "http://user:p%40ss@h/x?y#z", "HTTP://h"} {
		u, err := ParseURL(s)
		require.NoError(t, err, s)
		require.Empty(t, u.Fragment)
	}
	for s, want := range map[string]string{
		"ftp://h/a":                "http://",
		"h/a":                      "http://",
		"http:///a":                "no host",
		"http://u:s3cret@/a":       "no host",
		"http://u:s3cret@h:x/a":    "port",
		"http://h/%zz?s3cret":      "escape",
		"http://h/\x01?s3cret":     "control character",
		"http://u:s3 cret@h/":      "userinfo",
		"ftp://u:s3cret@h/?s3cret": "http://",
	} {
		_, err := ParseURL(s)
		require.ErrorContains(t, err, want, s)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("http://user:pass@[::1%25eth0]:80/a?b=c#d")
	f.Add("https://b\u00fccher.example/ü?q= x")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		_ = shown(u)
		_ = task(u, []string{"sig"}, Range{})
		target, err := absolute(u)
		if err != nil {
			return
		}
		for _, c := range []byte(target.String()[:len(target.String())-len(target.RawQuery)] + queryForm(target.RawQuery)) {
			require.True(t, c > ' ' && c < 0x7f, s)
		}
	})
}

func TestATaskIsOfWhatNamesContent(t *testing.T) {
	of := func(s string, filter ...string) string {
		u, err := ParseURL(s)
		require.NoError(t, err)
		return task(u, filter, Range{})
	}
	require.Equal(t, of("http://h/a?x=1&sig=2", "sig"), of("http://u:p@H/a?x=1&sig=3#f", "sig"))
	require.NotEqual(t, of("http://h/a?x=1&sig=2"), of("http://h/a?x=1&sig=3"))
	require.NotEqual(t, of("http://h/a"), of("https://h/a"))
	u, _ := ParseURL("http://h/a")
	require.NotEqual(t, task(u, nil, Range{}), task(u, nil, Range{kind: tail, count: 1}))
}
