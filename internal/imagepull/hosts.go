package imagepull

import (
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// hosts sends every request to the mirror. containerd's client names the
// registry in ?ns= because the host is another one.
func hosts(mirror string, c *http.Client, credentials func(registry string) (user, secret string, err error)) docker.RegistryHosts {
	return func(registry string) ([]docker.RegistryHost, error) {
		auth := []docker.AuthorizerOpt{docker.WithAuthClient(c)}
		if credentials != nil {
			auth = append(auth, docker.WithAuthCreds(func(string) (string, string, error) { return credentials(registry) }))
		}
		return []docker.RegistryHost{{
			Client:       c,
			Authorizer:   docker.NewDockerAuthorizer(auth...),
			Host:         mirror,
			Scheme:       "http",
			Path:         "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}}, nil
	}
}
