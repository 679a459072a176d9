// Package delivery sends content to an HTTP client: which part of it is asked for
// (RFC 9110, sections 13 and 14), and the bytes themselves, for as long as they are
// read.
package delivery
