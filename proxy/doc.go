// Package proxy is a node's forward proxy: HTTP requests with an absolute URI,
// CONNECT, and the HTTPS inside of it where the operator has it opened. What
// clients pull through it from registries comes from the swarm, by the mirror.
//
// Words. A request is proxied if it names its origin: by an absolute URI, or
// inside a connection that was opened. A rule says what becomes of the requests
// whose URL it matches. To relay is to pass on request and response, to tunnel to
// pass on bytes. A CONNECT is opened if the proxy itself answers the client's TLS,
// with a certificate of package ca. The guard knows where nobody may go.
//
// What becomes of a request:
//
//	CONNECT, host matches no pattern          tunnelled
//	CONNECT, not TLS, or HTTP is not spoken   tunnelled
//	CONNECT, TLS names another host           tunnelled
//	CONNECT, any other                        opened
//	no rule matches, or a direct one          relayed
//	GET of a manifest or blob, HEAD of a manifest   answered by the mirror
//	anything else below /v2/                  relayed: logins, pushes, lists
//	GET and HEAD of anything else             handed to Config.Files
//	any other                                 relayed
//	not proxied                               answered by the mirror
//
// What holds:
//   - What is relayed stays as it is but for what belongs to one hop (RFC 9110,
//     section 7.6.1) and for the writing of header names: no byte is decoded, no
//     header added, and nothing about the client told.
//   - Credentials for the proxy go nowhere.
//   - The host of a connection is where its requests go. One that names another
//     host gets 421, so no content can be had under a wrong name.
//   - Every address is checked when it is dialled, after its name was resolved.
//   - When Run returns, every tunnel is closed and every request has ended.
package proxy
