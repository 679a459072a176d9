package resolver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Registry is how one upstream registry is reached.
type Registry struct {
	// Host is host[:port] as clients name it, e.g. "registry.example:5000".
	Host string
	// PlainHTTP speaks HTTP instead of HTTPS.
	PlainHTTP bool
	// CAFile is a PEM file with the CAs that sign for the registry, beside
	// the system's; "" means the system's alone.
	CAFile string
	// Insecure accepts any certificate.
	Insecure bool
	// Credentials is a file that holds either "username:password" on one
	// line, or a docker config.json with an entry for the host; "" means none.
	// It is read anew for every login.
	Credentials string
}

// Pattern is how servers are trusted whose host:port it matches.
type Pattern struct {
	// Host matches host:port, anywhere in it.
	Host *regexp.Regexp
	// CAFile is a PEM file with the CAs that sign for them, beside the system's;
	// "" means the system's alone.
	CAFile string
	// Insecure accepts any certificate.
	Insecure bool
}

// Config is what a [Resolver] is made of.
type Config struct {
	// Registries that need more than HTTPS and the client's credentials.
	Registries []Registry
	// Patterns say how other registries are trusted; the first that matches
	// counts.
	Patterns []Pattern
	// Control is asked before a connection is made, as that of net.Dialer; nil
	// allows all.
	Control func(ctx context.Context, network, address string, c syscall.RawConn) error
	// UserAgent is sent with every request; "" means "shoal".
	UserAgent string
	// HeaderTimeout is how long an upstream may take to answer a request; 0
	// means 20 s.
	HeaderTimeout time.Duration
	// StallTimeout is how long it may send nothing in the middle of a body; 0
	// means 30 s.
	StallTimeout time.Duration
}

// DockerHub is how clients name Docker Hub.
const DockerHub = "docker.io"

// Canonical returns the one name of a registry that has several.
func Canonical(host string) string {
	switch host = strings.ToLower(host); host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return DockerHub
	}
	return host
}

// endpoint is where a registry's API answers.
func endpoint(host string) string {
	if host == DockerHub {
		return "registry-1.docker.io"
	}
	return host
}

// insecurely is in front of a registry's name if the client reached for it by
// plain HTTP; see [PlainHTTP].
const insecurely = "http://"

// PlainHTTP is the name of a registry that a client reached for by plain HTTP,
// and that is asked so. Its name goes where that of any registry goes, to the
// supernode too.
func PlainHTTP(host string) string { return insecurely + host }

// TLS returns how certificates are checked; nil is the default.
func (p Pattern) TLS() (*tls.Config, error) { return tlsConfig(p.CAFile, p.Insecure) }

func tlsConfig(caFile string, insecure bool) (*tls.Config, error) {
	if caFile == "" && !insecure {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure} //nolint:gosec // only where the operator says so
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", caFile)
		}
		cfg.RootCAs = pool
	}
	return cfg, nil
}

// login reads the node's credentials for the registry.
func (r Registry) login() (user, password string, err error) {
	data, err := os.ReadFile(r.Credentials)
	if err != nil {
		return "", "", fmt.Errorf("registry %s: credentials: %w", r.Host, err)
	}
	return ParseCredentials(data, r.Host)
}

type dockerConfig struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
}

// ParseCredentials reads the entry of a registry, by its canonical name, out of
// a credentials file. An empty user means that the password is a refresh token
// for the registry's token server. Errors never hold the file's text.
func ParseCredentials(data []byte, host string) (user, password string, err error) {
	text := strings.TrimSpace(string(data))
	if !strings.HasPrefix(text, "{") {
		user, password, ok := strings.Cut(text, ":")
		if !ok || user == "" || strings.ContainsAny(text, "\r\n") {
			return "", "", fmt.Errorf("registry %s: the credentials file is neither one line username:password nor a docker config.json", host)
		}
		return user, password, nil
	}
	var cfg dockerConfig
	if json.Unmarshal(data, &cfg) != nil {
		return "", "", fmt.Errorf("registry %s: the credentials file is not valid JSON", host)
	}
	for key, entry := range cfg.Auths {
		name := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		name, _, _ = strings.Cut(name, "/")
		if Canonical(name) != host {
			continue
		}
		if entry.IdentityToken != "" {
			return "", entry.IdentityToken, nil
		}
		if entry.Auth == "" {
			return entry.Username, entry.Password, nil
		}
		raw, err := base64.StdEncoding.DecodeString(entry.Auth)
		user, password, ok := strings.Cut(string(raw), ":")
		if err != nil || !ok {
			return "", "", fmt.Errorf("registry %s: its entry in the credentials file cannot be decoded", host)
		}
		return user, strings.TrimRight(password, "\x00"), nil
	}
	return "", "", fmt.Errorf("registry %s: the credentials file has no entry for it", host)
}
