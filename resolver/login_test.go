package resolver_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/oci"
	"github.com/shoal-p2p/shoal/internal/registrytest"
	"github.com/shoal-p2p/shoal/resolver"
)

func credentials(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestClientsOwnCredentialsGoUp(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("team/app", "v1", nil)
	up.RequireBasic("client", "secret")
	reg := plain(up)
	reg.Credentials = credentials(t, "node:other")
	repo := at(up)
	repo.Authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("client:secret"))
	_, err := ask(t, resolver.Config{}, reg).Manifest(t.Context(), repo, "v1", nil)
	require.NoError(t, err)

	// Wrong ones are the client's business, not a reason to use the node's.
	up.RequireBasic("node", "other")
	_, err = ask(t, resolver.Config{}, reg).Manifest(t.Context(), repo, "v1", nil)
	e := asOCI(t, err)
	require.Equal(t, http.StatusUnauthorized, e.Status)
	require.Equal(t, []string{`Basic realm="test registry"`}, e.Challenges)
}

func TestNodesCredentialsServeClientsWithoutAny(t *testing.T) {
	for name, require_ := range map[string]func(*registrytest.Registry, string, string){
		"basic": (*registrytest.Registry).RequireBasic,
		"token": (*registrytest.Registry).RequireToken,
	} {
		t.Run(name, func(t *testing.T) {
			up := registrytest.New(t)
			layer := registrytest.Bytes(1, 1000)
			_, _ = up.PushImage("team/app", "v1", [][]byte{layer})
			_, _ = up.PushImage("team/other", "v1", nil)
			dgst := up.PushBlob("team/app", layer)
			require_(up, "node", "pass:word")
			reg := plain(up)
			reg.Credentials = credentials(t, "node:pass:word\n")
			r := ask(t, resolver.Config{}, reg)
			require.NoError(t, r.Ping(t.Context(), resolver.Repository{Registry: up.Host()}))
			_, err := r.Manifest(t.Context(), at(up), "v1", nil)
			require.NoError(t, err)
			_, err = r.Manifest(t.Context(), resolver.Repository{Registry: up.Host(), Name: "team/other"}, "v1", nil)
			require.NoError(t, err, "a token is for one repository")
			body, _, err := r.Blob(t.Context(), at(up), dgst, 0, 0)
			require.NoError(t, err)
			got, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			require.Equal(t, layer, got)
		})
	}
}

func TestExpiredTokenIsRenewed(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("team/app", "v1", nil)
	up.RequireToken("node", "secret")
	reg := plain(up)
	reg.Credentials = credentials(t, "node:secret")
	r := ask(t, resolver.Config{}, reg)
	for range 3 {
		_, err := r.Manifest(t.Context(), at(up), "v1", nil)
		require.NoError(t, err)
		up.RevokeTokens()
	}
}

func TestFailedLoginIsTriedAfresh(t *testing.T) {
	up := registrytest.New(t)
	up.PushImage("team/app", "v1", nil)
	up.RequireToken("node", "secret")
	reg := plain(up)
	reg.Credentials = credentials(t, "node:secret")
	r := ask(t, resolver.Config{}, reg)
	up.Do(registrytest.Harm{Status: 503, Only: func(q *http.Request) bool { return q.URL.Path == registrytest.TokenPath }})
	_, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.Equal(t, oci.CodeUnavailable, asOCI(t, err).Code)
	up.Do(registrytest.Harm{})
	_, err = r.Manifest(t.Context(), at(up), "v1", nil)
	require.NoError(t, err)
}

func TestRefusedCredentialsAreNamedSo(t *testing.T) {
	up := registrytest.New(t)
	up.RequireToken("node", "secret")
	reg := plain(up)
	reg.Credentials = credentials(t, "node:wrong-password")
	_, err := ask(t, resolver.Config{}, reg).Manifest(t.Context(), at(up), "v1", nil)
	e := asOCI(t, err)
	require.Equal(t, oci.CodeUnauthorized, e.Code)
	require.Contains(t, e.Message, "does not take this node's credentials")
	require.NotContains(t, e.Message, "wrong-password")
}

func TestPasswordDoesNotLeaveOverPlainHTTP(t *testing.T) {
	tokens := registrytest.New(t) // the token server that the challenge names
	tokens.RequireToken("node", "secret")
	up := registrytest.NewTLS(t)
	up.Do(registrytest.Harm{Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {tokens.Challenge("team/app")}}})
	r := ask(t, resolver.Config{}, resolver.Registry{Host: up.Host(), Insecure: true, Credentials: credentials(t, "node:secret")})
	_, err := r.Manifest(t.Context(), at(up), "v1", nil)
	require.Contains(t, asOCI(t, err).Message, "over plain HTTP")
	require.Empty(t, tokens.Requests(""))
}

func TestAnonymousChallengeComesDownUnchanged(t *testing.T) {
	up := registrytest.New(t)
	up.RequireToken("client", "secret")
	_, err := ask(t, resolver.Config{}, plain(up)).Manifest(t.Context(), at(up), "v1", nil)
	e := asOCI(t, err)
	require.Equal(t, http.StatusUnauthorized, e.Status)
	require.Equal(t, []string{up.Challenge("team/app")}, e.Challenges)
}

func TestReadableCredentialsAreWarnedOf(t *testing.T) {
	logger, hook := logrustest.NewNullLogger()
	ctx := log.WithLogger(t.Context(), logrus.NewEntry(logger))
	file := credentials(t, "node:secret")
	r := ask(t, resolver.Config{}, resolver.Registry{Host: "registry.example", Credentials: file}, resolver.Registry{Host: "other.example"})
	r.Warn(ctx)
	require.Empty(t, hook.AllEntries())
	require.NoError(t, os.Chmod(file, 0o644))
	r.Warn(ctx)
	require.Len(t, hook.AllEntries(), 1)
	require.Contains(t, hook.LastEntry().Message, "chmod 600")
}

func TestParseCredentials(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	for _, c := range []struct{ text, host, user, password, err string }{
		{text: "user:pass:word\n", host: "a", user: "user", password: "pass:word"},
		{text: `{"auths":{"a":{"auth":"` + encoded + `"}}}`, host: "a", user: "user", password: "pass:word"},
		{text: `{"auths":{"https://index.docker.io/v1/":{"auth":"` + encoded + `"}}}`, host: "docker.io", user: "user", password: "pass:word"},
		{text: `{"auths":{"a:5000":{"username":"user","password":"p"}}}`, host: "a:5000", user: "user", password: "p"},
		{text: `{"auths":{"a":{"auth":"` + encoded + `","identitytoken":"refresh"}}}`, host: "a", password: "refresh"},
		{text: `{"auths":{"a":{"auth":"` + encoded + `"}}}`, host: "b", err: "has no entry"},
		{text: `{"auths":{"a":{"auth":"secret?"}}}`, host: "a", err: "cannot be decoded"},
		{text: `{"auths":`, host: "a", err: "not valid JSON"},
		{text: "secret", host: "a", err: "neither one line"},
		{text: "user:secret\nuser:secret", host: "a", err: "neither one line"},
	} {
		user, password, err := resolver.ParseCredentials([]byte(c.text), c.host)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), "secret")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, [2]string{c.user, c.password}, [2]string{user, password})
	}
}
