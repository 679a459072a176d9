// Package install makes the containerd of this machine pull through a registry
// mirror, and takes that back without a trace.
//
// Glossary:
//   - config_path: the folders, separated by colons, in which containerd's CRI
//     looks for <registry>/hosts.toml, else for _default/hosts.toml.
//   - specific folder: <config_path>/<registry>. Where it exists, even empty,
//     containerd does not look at _default for that registry.
//   - distribution: k3s and RKE2 write containerd's configuration themselves at
//     each start, from registries.yaml; that file is what is edited there.
//
// What holds:
//   - The mirror comes first and whatever was configured comes after it, in its
//     order. Nothing else changes its meaning: each edit is checked by decoding
//     the file before and after, and refused if they differ in more.
//   - A file is edited as text. What an edit does not concern keeps its bytes.
//   - Installing again changes nothing, and with another mirror replaces the
//     first; uninstalling gives back the bytes that were there: see package undo.
//
// What containerd does with these files, by version, where it matters:
//
//	1.x      config_path is empty by default; imported files replace the whole
//	         table of a plugin; a hosts.toml without a [host] table is not read
//	2.0      config_path is /etc/containerd/certs.d:/etc/docker/certs.d by
//	         default; imported files are merged key by key
//	2.1 on   as 2.0, but pulls go through the transfer service, which takes
//	         config_path for the name of one folder: a list of several is
//	         silently ignored (containerd issue 12808), the default included.
//	         It keeps its meaning where CRI pulls by itself, see pullsLocally.
//
// No version up to 2.4 reads files in conf.d unless config.toml imports them,
// nor does any read the config_path of io.containerd.transfer.v1.local.
package install
