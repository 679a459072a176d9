// Package doctor says whether the pulls of a node go through Shoal, and what to
// change if not.
//
// Glossary:
//   - check: one question about the node, with a plain answer: [Result].
//   - node: what the checks so far have found out; later ones build on it.
//   - fix: what to do about an answer that is not fine, each line a command to
//     run or a setting to change.
//   - probe: a real pull, whose bytes are looked for in the agent's counters.
//
// What holds:
//   - Checks run in order. One that needs another is skipped if that failed.
//   - What the running agent says of itself counts for more than the
//     configuration that doctor was given; where they differ it says so.
//   - A function named judge… decides, and does no I/O; the others ask.
//   - Nothing is changed, and nothing waits longer than its check may take. A
//     probe takes back what it pulled.
//   - No answer holds credentials: addresses, names and counts only.
package doctor
