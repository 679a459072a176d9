// Package debimage makes a realistic container image from Debian packages: a
// few hundred MiB in several layers for amd64, and a smaller one for arm64.
//
// A layer holds some packages and all that they depend on, less what lower
// layers hold already; recipe.go lists them. The packages are unpacked, not
// configured: no maintainer script runs, so alternatives are missing, and
// programs that need none (sh, python3, perl, gcc, clang) work.
//
// The same packages give the same bytes. apt works in directories of its own,
// so the machine's packages, lists and architectures stay as they are.
package debimage
