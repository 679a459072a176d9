// Package imagepull finds and pulls images through a mirror.
//
// An image is what a name resolves to: an index whose manifests are for
// platforms, or one manifest. Its parts are the manifests, configs and layers. A
// [Source] is an image that has been resolved; [Pull] reads its parts, so that
// the agent behind the mirror keeps them: the bytes are checked against their
// digests and thrown away here.
//
// A platform chooses among the manifests of an index. An image of one manifest
// leaves no choice: it is what its name says, and it is refused only where
// somebody named another platform, or wants to run it here.
package imagepull
