package get

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ParseDigest reads sha256:…, sha384:… or sha512:….
func ParseDigest(s string) (digest.Digest, error) {
	d, err := digest.Parse(strings.ToLower(s))
	if err != nil {
		return "", fmt.Errorf("digest %q: it is sha256:, sha384: or sha512: and that many bits in hexadecimal", s)
	}
	return d, nil
}

// ParseMD5 reads an MD5 sum, which has become a digest then: md5:….
func ParseMD5(s string) (digest.Digest, error) {
	sum, err := hex.DecodeString(s)
	if err != nil || len(sum) != md5.Size {
		return "", fmt.Errorf("MD5 sum %q: it is 32 hexadecimal digits", s)
	}
	return digest.NewDigestFromEncoded("md5", hex.EncodeToString(sum)), nil
}

// sums hashes content by the algorithms of the digests that it shall have, or by
// SHA-256 if there are none.
type sums struct {
	want   []digest.Digest
	hashes map[digest.Algorithm]hash.Hash
	first  digest.Algorithm // what the content is named by
}

func newSums(want []digest.Digest) *sums {
	s := &sums{want: want, hashes: map[digest.Algorithm]hash.Hash{}, first: digest.SHA256}
	for _, d := range want {
		if d.Algorithm() == "md5" {
			s.hashes["md5"] = md5.New()
		} else {
			s.hashes[d.Algorithm()] = d.Algorithm().Hash()
		}
	}
	if len(want) == 0 {
		s.hashes[s.first] = s.first.Hash()
	} else {
		s.first = want[0].Algorithm()
	}
	return s
}

func (s *sums) Write(b []byte) (int, error) {
	for _, h := range s.hashes {
		h.Write(b)
	}
	return len(b), nil
}

func (s *sums) reset() {
	for _, h := range s.hashes {
		h.Reset()
	}
}

func (s *sums) digest(a digest.Algorithm) digest.Digest {
	return digest.NewDigestFromBytes(a, s.hashes[a].Sum(nil))
}

// check compares the content with what it shall be.
func (s *sums) check() error {
	for _, want := range s.want {
		if got := s.digest(want.Algorithm()); got != want {
			return failed(Mismatch, "the content is %s, not %s", got, want)
		}
	}
	return nil
}
