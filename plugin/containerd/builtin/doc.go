// Package builtin is Shoal's agent as a plugin inside containerd 2.x, for who
// builds a containerd of their own: import it for its side effect, beside
// containerd's builtins. contrib/containerd is such a program.
//
// The plugin is io.shoal.v1.agent. Its configuration is its section in
// containerd's config.toml, with the agent's keys; see docs/config.md. Without
// any key there it stays out. It does not need containerd's socket: content
// store, leases, images and events are those of the process.
//
// What holds:
//   - All addresses are bound before containerd goes on starting; one that
//     cannot be is a plugin that failed to load, and containerd starts without.
//   - containerd's end ends the agent before the stores that it uses: its Close
//     lets running requests finish for shutdown_grace, and returns when no
//     goroutine of the agent is left.
//   - Metrics are among containerd's own, and so also at the agent's admin
//     address.
package builtin
