// Package registrytest is an upstream registry for tests: a real one that keeps
// everything in memory, behind a front that counts what leaves and does harm on
// demand.
//
// A [Harm] says what goes wrong and for which requests. Content is pushed past
// the front, so that harm never meets it and nothing of it is counted.
package registrytest
