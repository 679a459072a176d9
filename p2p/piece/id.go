package piece

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/opencontainers/go-digest"
)

// File is the algorithm of IDs that name a file by where it comes from rather
// than by its bytes, whose digest nobody knows before they have been read: 64
// hexadecimal digits, which mean nothing by themselves.
const File digest.Algorithm = "file"

// FileID is the ID of the file that all these name together.
func FileID(names ...string) digest.Digest {
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%d:%s,", len(n), n)
	}
	return digest.NewDigestFromEncoded(File, hex.EncodeToString(h.Sum(nil)))
}

// filePrefix is what IDs of files begin with.
const filePrefix = string(File) + ":"

// IsFile reports whether an ID, which need not be valid, is a file's.
func IsFile(id digest.Digest) bool { return strings.HasPrefix(string(id), filePrefix) }

var errFileID = errors.New("piece: the ID of a file is 64 hexadecimal digits")

// ValidateID says what is wrong with an ID, which is a digest or a file's.
func ValidateID(id digest.Digest) error {
	encoded, ok := strings.CutPrefix(string(id), filePrefix)
	if !ok {
		return id.Validate()
	}
	if digest.SHA256.Validate(encoded) != nil {
		return errFileID
	}
	return nil
}

// newHash is what the bytes of a blob or file are hashed with.
func newHash(id digest.Digest) hash.Hash {
	if IsFile(id) {
		return sha256.New()
	}
	return id.Algorithm().Hash()
}
