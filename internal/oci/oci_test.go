package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestMediaTypeFromTheBytes(t *testing.T) {
	for body, want := range map[string]string{
		`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","layers":[]}`: "application/vnd.docker.distribution.manifest.v2+json",
		`{"schemaVersion":2,"manifests":[]}`:                                               IndexType,
		`{"schemaVersion":2,"config":{},"layers":[]}`:                                      ManifestType,
		`{"schemaVersion":1,"fsLayers":[]}`:                                                "application/vnd.docker.distribution.manifest.v1+prettyjws",
		`{"mediaType":"a\r\nX-Evil: b","manifests":[]}`:                                    IndexType,
		`{"mediaType":"` + strings.Repeat("a", 300) + `","layers":[]}`:                     ManifestType,
		`{"blobs":[]}`: "application/octet-stream",
		`[]`:           "application/octet-stream",
		``:             "application/octet-stream",
	} {
		require.Equal(t, want, MediaType([]byte(body)), body)
	}
}

func TestFilterReferrers(t *testing.T) {
	const a, b = `{"digest":"sha256:a","artifactType":"x","extra":{"kept":[1]}}`, `{"digest":"sha256:b","artifactType":"y"}`
	got, err := FilterReferrers([]byte(`{"schemaVersion":2,"manifests":[`+a+`,`+b+`],"annotations":{"k":"v"}}`), "x")
	require.NoError(t, err)
	require.JSONEq(t, `{"schemaVersion":2,"manifests":[`+a+`],"annotations":{"k":"v"}}`, string(got))
	got, err = FilterReferrers(EmptyIndex(), "x")
	require.NoError(t, err)
	require.JSONEq(t, string(EmptyIndex()), string(got))
	for _, broken := range []string{``, `[]`, `{}`, `{"manifests":7}`} {
		_, err := FilterReferrers([]byte(broken), "x")
		require.Error(t, err, broken)
	}
}

func TestErrorAsAnAnswer(t *testing.T) {
	e := Errorf(SideUpstream, http.StatusUnauthorized, CodeUnauthorized, "say %q", "who")
	e.Challenges = []string{`Bearer realm="a"`, "Basic"}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := httptest.NewRecorder()
		e.WriteTo(w, method)
		require.Equal(t, http.StatusUnauthorized, w.Code)
		require.Equal(t, e.Challenges, w.Header().Values("WWW-Authenticate"))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		if method == http.MethodHead {
			require.Empty(t, w.Body.Bytes())
			continue
		}
		code, message := ParseErrorBody(w.Body)
		require.Equal(t, CodeUnauthorized, code)
		require.Equal(t, `say "who"`, message)
	}
}

func TestErrorSaysWhatCanBeDone(t *testing.T) {
	for status, temporary := range map[int]bool{400: false, 401: false, 404: false, 408: true, 416: false, 429: true, 500: true, 503: true} {
		e := Errorf(SidePeer, status, CodeUnavailable, "x")
		require.Equal(t, temporary, e.Temporary(), status)
		require.True(t, HasStatus(fmt.Errorf("wrapped: %w", e), status))
		require.False(t, HasStatus(e, status+1))
	}
	require.False(t, HasStatus(errors.New("plain"), 404))
	require.False(t, HasStatus(nil, 404))
	require.Equal(t, "peer: gone (503 UNAVAILABLE)", Errorf(SidePeer, 503, CodeUnavailable, "gone").Error())
}

func FuzzMediaType(f *testing.F) {
	f.Add([]byte(`{"mediaType":"application/vnd.oci.image.index.v1+json"}`))
	f.Add([]byte(`{"manifests":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := MediaType(body)
		if got == "" || len(got) > 255 || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("%q is no header", got)
		}
	})
}

func FuzzFilterReferrers(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"artifactType":"a"}]}`), "a")
	f.Fuzz(func(t *testing.T, index []byte, artifactType string) {
		got, err := FilterReferrers(index, artifactType)
		if err == nil && !json.Valid(got) {
			t.Fatalf("%q", got)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add(`{"errors":[{"code":"UNAUTHORIZED","message":"x"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		code, message := ParseErrorBody(strings.NewReader(body))
		if len(code) > 64 || len(message) > maxMessage || !utf8.ValidString(message) {
			t.Fatalf("%q %q", code, message)
		}
	})
}
