// Package docker makes the dockerd of this machine pull through a registry mirror,
// takes that back without a trace, and asks a running one how it pulls.
//
// There are two ways, and dockerd has both at once if it is told to:
//   - mirror: "registry-mirrors" in daemon.json. dockerd asks it for images of
//     Docker Hub alone, and goes there itself if the mirror does not have them.
//   - proxy: all its requests to registries go through the agent, which looks into
//     those that proxy.hijack_https names. There is no way past a proxy that is
//     not there. Registries on loopback are asked directly.
//
// What dockerd does with what is written here, as seen with 20.10 and moby 2.0:
//
//	registry-mirrors  read again on SIGHUP; but if the key has gone, the old
//	                  mirrors stay until a restart
//	proxies           a key of 23.0 and later, read at the start; 20.10 does not
//	                  start with it, and takes HTTPS_PROXY from its environment
//	duplicate keys    the last one holds
//	an empty file     20.10 does not start; so it is with a byte order mark
//	flags             a setting that is given both as a flag and in the file
//	                  keeps dockerd from starting
//
// What holds: daemon.json is edited as text. What an edit does not concern keeps
// its bytes, and each edit is checked by decoding the file before and after. How
// it is undone is in package undo; as programs like to write JSON anew, what was
// put in is found by what the file says, not by its text.
package docker
