package cli

import (
	"os"
	"path/filepath"

	"github.com/shoal-p2p/shoal/resolver"
)

// dockerCredentials looks a registry up in the user's docker config.json. A
// registry without an entry there is asked anonymously.
func dockerCredentials(registry string) (user, secret string, err error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", "", nil
		}
		dir = filepath.Join(home, ".docker")
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return "", "", nil
	}
	user, secret, err = resolver.ParseCredentials(data, resolver.Canonical(registry))
	if err != nil {
		return "", "", nil
	}
	return user, secret, nil
}
