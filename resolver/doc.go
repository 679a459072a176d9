// Package resolver asks upstream registries: for manifests, blobs, tags and
// referrers, each on behalf of a client.
//
// It adds nothing to what a client could ask itself, and hides nothing: the
// client's Authorization goes up, a 401 comes back with its challenges as the
// upstream sent them, a 404 stays a 404. Only where the client sends no
// credentials and the node has its own for that registry are those used.
//
// What goes where:
//
//	client's Authorization   to the registry that it names, never to where that redirects
//	node's credentials       to their registry and its token server, only for clients without any
//	plain HTTP               only to registries that are configured so
//	node's password          never over plain HTTP, unless the registry is configured so
//	redirects                at most 5, never from https to http, without Referer
//
// All that an upstream sends is bounded: headers, error bodies, manifests,
// lists, and the time until the next byte. Questions other than for blobs are
// asked again where the connection breaks; who reads a blob goes on by itself.
package resolver
