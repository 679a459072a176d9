// Package oci holds what every part of Shoal that speaks the OCI distribution
// API shares: the error that travels from a registry to a client.
package oci
