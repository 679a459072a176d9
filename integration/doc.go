// Package integration tests the built binary from the outside: real containerds
// and registries on a cluster of network namespaces. Its tests have the build
// tag e2e and need root; see make test-e2e.
package integration
