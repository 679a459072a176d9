package debimage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsrMerged(t *testing.T) {
	for from, to := range map[string]string{
		"./":                    ".",
		"./bin/sh":              "usr/bin/sh",
		"./lib64/ld.so":         "usr/lib64/ld.so",
		"./usr/bin/gcc":         "usr/bin/gcc",
		"./etc/debian_version":  "etc/debian_version",
		"./library/x":           "library/x",
		"./lib":                 "usr/lib",
		"./var/../bin/../bin/a": "usr/bin/a",
	} {
		require.Equal(t, to, usrMerged(from), from)
	}
}
