package p2p

import "github.com/opencontainers/go-digest"

// holdings is what the supernode was told that the store has. A scan of the store
// takes a while, and blobs are committed and announced meanwhile: only what was
// announced before a scan can be missed by it.
type holdings struct {
	scan  uint64                   // number of the scan under way, or of the last
	blobs map[digest.Digest]uint64 // in which scan it was announced
}

func newHoldings() holdings { return holdings{blobs: map[digest.Digest]uint64{}} }

// add records a blob as announced. It reports whether that is news.
func (h *holdings) add(dgst digest.Digest) bool {
	_, known := h.blobs[dgst]
	h.blobs[dgst] = h.scan
	return !known
}

func (h *holdings) forget(dgst digest.Digest) { delete(h.blobs, dgst) }

// begin starts a scan.
func (h *holdings) begin() { h.scan++ }

// compare returns what a scan found that was not announced, and what it missed.
func (h *holdings) compare(found map[digest.Digest]int64) (fresh, gone []digest.Digest) {
	for dgst := range found {
		if _, ok := h.blobs[dgst]; !ok {
			fresh = append(fresh, dgst)
		}
	}
	for dgst, announced := range h.blobs {
		if _, ok := found[dgst]; !ok && announced < h.scan {
			gone = append(gone, dgst)
		}
	}
	return fresh, gone
}
