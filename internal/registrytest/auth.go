package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// auth is who may read.
type auth struct {
	r              *Registry
	user, password string
	bearer         bool

	mu     sync.Mutex
	tokens map[string][]string // scopes by token
	issued int
}

// TokenPath is where a registry with [Registry.RequireToken] gives out tokens.
const TokenPath = "/token"

// RequireBasic lets only those in who show user and password.
func (r *Registry) RequireBasic(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = &auth{r: r, user: user, password: password}
}

// RequireToken lets only those in who show a token for the repository, which
// the registry gives out for user and password.
func (r *Registry) RequireToken(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = &auth{r: r, user: user, password: password, bearer: true, tokens: map[string][]string{}}
}

// RevokeTokens makes all tokens so far worthless.
func (r *Registry) RevokeTokens() {
	r.mu.Lock()
	a := r.auth
	r.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}

// Challenge is the WWW-Authenticate value of a registry with
// [Registry.RequireToken].
func (r *Registry) Challenge(repo string) string {
	return fmt.Sprintf(`Bearer realm="%s%s",service="test registry",scope="repository:%s:pull"`, r.URL, TokenPath, repo)
}

var repoPath = regexp.MustCompile(`^/v2/(.+)/(?:manifests|blobs|referrers|tags)/`)

// admit reports whether a request may go on; else it has been answered.
func (a *auth) admit(w http.ResponseWriter, q *http.Request) bool {
	if a.bearer && q.URL.Path == TokenPath {
		a.giveToken(w, q)
		return false
	}
	repo := ""
	if m := repoPath.FindStringSubmatch(q.URL.Path); m != nil {
		repo = m[1]
	}
	challenge := `Basic realm="test registry"`
	if a.bearer {
		challenge = a.r.Challenge(repo)
		scopes, known := a.scopes(strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "))
		if known && (repo == "" || slices.Contains(scopes, "repository:"+repo+":pull")) {
			return true
		}
		if known {
			challenge += `,error="insufficient_scope"`
		}
	} else if user, password, ok := q.BasicAuth(); ok && user == a.user && password == a.password {
		return true
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
	return false
}

func (a *auth) scopes(token string) (scopes []string, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	scopes, known = a.tokens[token]
	return scopes, known
}

// giveToken answers both ways of asking: GET with basic auth, POST with a form.
func (a *auth) giveToken(w http.ResponseWriter, q *http.Request) {
	user, password, _ := q.BasicAuth()
	scopes := q.URL.Query()["scope"]
	if q.Method == http.MethodPost {
		user, password = q.PostFormValue("username"), q.PostFormValue("password")
		scopes = strings.Fields(q.PostFormValue("scope"))
	}
	if user != a.user || password != a.password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	a.issued++
	token := fmt.Sprintf("token-%d", a.issued)
	a.tokens[token] = scopes
	a.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}
