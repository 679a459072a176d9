package resolver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/internal/oci"
)

// Blob reads a blob from offset to end, which it may exceed; 0 is the blob's own
// end. size is that of the whole blob, -1 if the upstream does not say. An
// upstream that does not know ranges is read from the start, and what comes
// before offset is skipped. Errors are
// *oci.Error; those of the body are plain.
func (r *Resolver) Blob(ctx context.Context, repo Repository, dgst digest.Digest, offset, end int64) (body io.ReadCloser, size int64, err error) {
	q := request{method: http.MethodGet, path: repo.Name + "/blobs/" + dgst.String(), header: http.Header{}, unknown: oci.CodeBlobUnknown, once: true}
	switch {
	case end > 0:
		q.header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, end-1))
	case offset > 0:
		q.header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := r.do(ctx, repo, q)
	if err != nil {
		return nil, 0, err
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		_ = resp.Body.Close()
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "registry %s encodes blob %s as %.40q although it was asked not to", repo.Registry, dgst, e)
	}
	guarded := guard(resp.Body, r.cfg.StallTimeout)
	size, err = r.place(resp, guarded, offset)
	if err != nil {
		_ = guarded.Close()
		return nil, 0, oci.Errorf(oci.SideUpstream, http.StatusBadGateway, oci.CodeUnavailable, "blob %s at registry %s: %v", dgst, repo.Registry, err)
	}
	return guarded, size, nil
}

// place brings a body to offset and finds the size of the whole.
func (r *Resolver) place(resp *http.Response, body io.Reader, offset int64) (size int64, err error) {
	if resp.StatusCode == http.StatusPartialContent {
		first, _, size, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err == nil && first != offset {
			err = fmt.Errorf("asked for byte %d, it sends from byte %d", offset, first)
		}
		return size, err
	}
	if offset > 0 {
		if _, err := io.CopyN(io.Discard, body, offset); err != nil {
			return 0, fmt.Errorf("skipping to byte %d: %w", offset, err)
		}
	}
	return resp.ContentLength, nil
}

// StatBlob returns the size of a blob, -1 if the upstream does not say.
func (r *Resolver) StatBlob(ctx context.Context, repo Repository, dgst digest.Digest) (size int64, err error) {
	resp, err := r.do(ctx, repo, request{method: http.MethodHead, path: repo.Name + "/blobs/" + dgst.String(), unknown: oci.CodeBlobUnknown})
	if err != nil {
		return 0, err
	}
	drain(resp)
	return resp.ContentLength, nil
}
