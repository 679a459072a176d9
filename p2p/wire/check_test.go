package wire

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-p2p/shoal/p2p/piece"
)

var blob = digest.FromString("a").String()

func TestCheckRefusesWhatIsOutOfBounds(t *testing.T) {
	for name, f := range map[string]*Frame{
		"other version":     {Kind: &Frame_Hello{Hello: &Hello{Version: 99, Id: "a"}}},
		"no node ID":        {Kind: &Frame_Hello{Hello: &Hello{Version: Version}}},
		"not a digest":      {Kind: &Frame_Offer{Offer: &Offer{Blob: "sha256:../../etc/passwd"}}},
		"piece out of all":  {Kind: &Frame_Offer{Offer: &Offer{Blob: blob, Piece: piece.MaxPieces}}},
		"bitfield too long": {Kind: &Frame_Snapshot{Snapshot: &Snapshot{Blob: blob, Size: 1, PieceSize: piece.MinSize, Have: make([]byte, 2)}}},
		"odd piece size":    {Kind: &Frame_Task{Task: &Task{Blob: blob, Size: 1, PieceSize: 77}}},
		"half a sum":        {Kind: &Frame_Sums{Sums: &Sums{Blob: blob, Sums: make([]byte, 33)}}},
		"status 200":        {Kind: &Frame_Failure{Failure: &Failure{Blob: blob, Status: 200}}},
		"negative size":     {Kind: &Frame_Announce{Announce: &Announce{Blobs: []*Announce_Blob{{Digest: blob, Size: -1}}}}},
		"nothing is gone":   {Kind: &Frame_Announce{Announce: &Announce{Gone: []string{"blob"}}}},
		"too much is gone":  {Kind: &Frame_Announce{Announce: &Announce{Gone: slices.Repeat([]string{blob}, MaxAnnounced+1)}}},
	} {
		require.Error(t, Check(&Frames{Frames: []*Frame{f}}), name)
	}
	require.Error(t, Check(&Frames{Frames: make([]*Frame, MaxFrames+1)}))
	require.NoError(t, Check(&Frames{}), "a sign of life")
	require.NoError(t, Check(&Frames{Frames: []*Frame{{}}}), "a kind that a later version adds")
}

func FuzzCheck(f *testing.F) {
	for _, frame := range []*Frame{
		{Kind: &Frame_Hello{Hello: &Hello{Version: Version, Id: "a", Address: ":1"}}},
		{Kind: &Frame_Snapshot{Snapshot: &Snapshot{Blob: blob, Size: 1, PieceSize: piece.MinSize, Have: []byte{1}}}},
		{Kind: &Frame_Task{Task: &Task{Blob: blob, Size: 1, PieceSize: piece.MinSize}}},
	} {
		data, err := proto.Marshal(&Frames{Frames: []*Frame{frame}})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var said Frames
		if proto.Unmarshal(data, &said) != nil || Check(&said) != nil {
			return
		}
		for _, frame := range said.GetFrames() {
			if s := frame.GetSnapshot(); s != nil {
				n := piece.Layout{Size: s.GetSize(), PieceSize: s.GetPieceSize()}.Count()
				_, _ = piece.Decode(s.GetHave(), n)
				_, _ = piece.Decode(s.GetWant(), n)
			}
		}
	})
}
