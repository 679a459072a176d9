package wire

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

// Version of the protocol. A node refuses neighbours of another one.
const Version = 1

// Limits on what a remote side may send.
const (
	MaxMessage   = 1 << 20 // bytes of frames sent at once
	MaxFrames    = 1 << 14 // frames sent at once
	MaxAnnounced = 4096    // blobs in one Announce
	MaxPeers     = 256     // peers in one Task
	MaxLabels    = 32
	maxID        = 64
	maxString    = 512
	maxSecret    = 64 << 10 // a bearer token can be long
)

// Protocol is what two nodes upgrade an HTTP/1.1 connection to: [Frames] in both
// directions, each after its length as a varint. StreamPath is where.
const (
	Protocol   = "shoal-swarm/1"
	StreamPath = "/v1/swarm"
)

// NodeHeader names the node that asks for a piece.
const NodeHeader = "Shoal-Node"

// PiecePath is where a node serves piece i of a blob.
func PiecePath(blob string, i int) string { return fmt.Sprintf("/v1/pieces/%s/%d", blob, i) }

var errBlob = errors.New("wire: neither the digest of a blob nor the ID of a file")

// CheckBlob reports whether s names a blob or a file.
func CheckBlob(s string) error {
	if len(s) > 2*maxID+16 {
		return errBlob
	}
	if piece.ValidateID(digest.Digest(s)) != nil {
		return errBlob
	}
	return nil
}

// Check says what is wrong with what came from a remote side.
func Check(m *Frames) error {
	if n := len(m.GetFrames()); n > MaxFrames {
		return fmt.Errorf("wire: %d frames at once are more than %d", n, MaxFrames)
	}
	for _, f := range m.GetFrames() {
		if err := checkFrame(f); err != nil {
			return err
		}
	}
	return nil
}

// checkFrame says what is wrong with a frame. One of a kind that this version
// does not know is in order, and empty.
func checkFrame(f *Frame) error {
	switch k := f.GetKind().(type) {
	case *Frame_Hello:
		return checkHello(k.Hello)
	case *Frame_Snapshot:
		s := k.Snapshot
		l := piece.Layout{Size: s.GetSize(), PieceSize: s.GetPieceSize()}
		if err := l.Validate(); err != nil {
			return err
		}
		if most := (l.Count() + 7) / 8; len(s.GetHave()) > most || len(s.GetWant()) > most {
			return fmt.Errorf("wire: bitfield is longer than %d pieces", l.Count())
		}
		return CheckBlob(s.GetBlob())
	case *Frame_Offer:
		return checkPiece(k.Offer.GetBlob(), k.Offer.GetPiece())
	case *Frame_Reject:
		return checkPiece(k.Reject.GetBlob(), k.Reject.GetPiece())
	case *Frame_Leave:
		return CheckBlob(k.Leave.GetBlob())
	case *Frame_Join:
		o := k.Join.GetOrigin()
		if len(o.GetRegistry()) > maxString || len(o.GetRepository()) > maxString || len(o.GetAuthorization()) > maxSecret || len(o.GetFile()) > maxSecret {
			return errors.New("wire: origin is too long")
		}
		return CheckBlob(k.Join.GetBlob())
	case *Frame_Announce:
		return checkAnnounce(k.Announce)
	case *Frame_Task:
		return checkTask(k.Task)
	case *Frame_Sums:
		return checkSums(k.Sums)
	case *Frame_Failure:
		f := k.Failure
		if len(f.GetMessage()) > 8*maxString || len(f.GetCode()) > maxString || len(f.GetSide()) > maxString {
			return errors.New("wire: failure is too long")
		}
		if f.GetStatus() < 400 || f.GetStatus() > 599 {
			return fmt.Errorf("wire: failure with status %d", f.GetStatus())
		}
		return CheckBlob(f.GetBlob())
	}
	return nil
}

func checkSums(s *Sums) error {
	if err := CheckBlob(s.GetBlob()); err != nil {
		return err
	}
	n, width := len(s.GetSums()), piece.NewChain(digest.Digest(s.GetBlob()), piece.Layout{}).Width()
	if n%width != 0 || int(s.GetFirst())+n/width > piece.MaxPieces {
		return fmt.Errorf("wire: %d bytes of sums from piece %d", n, s.GetFirst())
	}
	return nil
}

func checkHello(h *Hello) error {
	if h.GetVersion() != Version {
		return fmt.Errorf("wire: neighbour speaks version %d, not %d: run the same release on both", h.GetVersion(), Version)
	}
	if id := h.GetId(); id == "" || len(id) > maxID {
		return errors.New("wire: hello without a node ID")
	}
	if len(h.GetAddress()) > maxString || len(h.GetLabels()) > MaxLabels {
		return errors.New("wire: hello is too long")
	}
	for k, v := range h.GetLabels() {
		if len(k)+len(v) > maxString {
			return errors.New("wire: hello is too long")
		}
	}
	return nil
}

func checkPiece(blob string, i uint32) error {
	if i >= piece.MaxPieces {
		return fmt.Errorf("wire: piece %d is beyond %d", i, piece.MaxPieces)
	}
	return CheckBlob(blob)
}

func checkAnnounce(a *Announce) error {
	if n := len(a.GetBlobs()) + len(a.GetGone()); n > MaxAnnounced {
		return fmt.Errorf("wire: %d blobs announced at once", n)
	}
	for _, gone := range a.GetGone() {
		if err := CheckBlob(gone); err != nil {
			return err
		}
	}
	for _, b := range a.GetBlobs() {
		if b.GetSize() < 0 {
			return errors.New("wire: announced size is negative")
		}
		if err := CheckBlob(b.GetDigest()); err != nil {
			return err
		}
	}
	return nil
}

func checkTask(t *Task) error {
	if len(t.GetPeers()) > MaxPeers {
		return fmt.Errorf("wire: task with %d peers", len(t.GetPeers()))
	}
	for _, p := range t.GetPeers() {
		if p.GetId() == "" || len(p.GetId()) > maxID || len(p.GetAddress()) > maxString {
			return errors.New("wire: task with a bad peer")
		}
	}
	if err := (piece.Layout{Size: t.GetSize(), PieceSize: t.GetPieceSize()}).Validate(); err != nil {
		return err
	}
	return CheckBlob(t.GetBlob())
}
