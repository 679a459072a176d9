// Package storetest is what every [p2p.Store] passes.
//
// A store's test calls Run with a function that makes a fresh [Fixture]; each
// subtest gets its own. Stores that write are tested by what they keep; stores
// that look on while somebody else writes are tested by what they see.
package storetest
