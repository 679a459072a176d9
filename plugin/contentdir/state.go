package contentdir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// State is a text that differs from an earlier one if blobs have come to or gone
// from root since. Two changes within a tick of the file system's clock, a few
// milliseconds, may look like one.
func State(root string) (string, error) {
	blobs := filepath.Join(root, "blobs")
	algorithms, err := readDir(blobs)
	if err != nil {
		return "", fmt.Errorf("store %s: %w", root, err)
	}
	var state strings.Builder
	for _, a := range algorithms {
		info, err := os.Stat(filepath.Join(blobs, a.Name()))
		if err != nil {
			continue // it has just gone, which shows
		}
		fmt.Fprintln(&state, a.Name(), info.ModTime().UnixNano())
	}
	return state.String(), nil
}
