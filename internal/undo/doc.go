// Package undo changes configuration files of a machine so that the change can be
// taken back without a trace, also after others have changed the files.
//
// Glossary:
//   - root: the directory that stands for /. All paths here are as the machine
//     sees them; symbolic links are followed inside root.
//   - subject: what is configured, such as containerd. It says what the files mean.
//   - manifest: what was there before, in /var/lib/shoal/install/<subject>.
//   - baseline: the files as they would be without what was installed.
//   - hunk: a piece of text that was put into a file, and what it replaced.
//
// What holds:
//   - Installing is declarative: it plans from the baseline, so that installing
//     again changes nothing, and something else replaces the first.
//   - The manifest is on disk before the first change, and every file is
//     replaced by a rename. After a crash, installing completes and
//     uninstalling restores.
//   - Uninstalling gives back the bytes that were there. In a file that somebody
//     else has changed since, it takes out what was put in and no more; where it
//     does not find that, it leaves the file and says so.
package undo
