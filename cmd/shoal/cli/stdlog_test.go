package cli

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/internal/config"
)

func TestWhatNetHTTPRemarksIsALineOfOurLog(t *testing.T) {
	to, flags := log.Writer(), log.Flags()
	level, format := logrus.GetLevel(), logrus.StandardLogger().Formatter
	defer func() {
		logrus.SetLevel(level)
		logrus.SetFormatter(format)
	}()
	said := func(level string) string {
		path := filepath.Join(t.TempDir(), "log")
		end, err := begin(&config.Config{LogLevel: level, LogFormat: "json", LogPath: path})
		require.NoError(t, err)
		log.Printf("Unsolicited response received on idle HTTP channel starting with %q;\n err=é\x1b %s", "HTTP/1.1", strings.Repeat("é", 500))
		end()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	text := said("debug")
	require.Equal(t, 1, strings.Count(text, "\n"))
	var line struct{ Level, Msg string }
	require.NoError(t, json.Unmarshal([]byte(text), &line), "%s", text)
	require.Equal(t, "debug", line.Level)
	require.Regexp(t, `^Unsolicited response .* starting with "HTTP/1\.1";  err=é  é+$`, line.Msg)
	require.LessOrEqual(t, len(line.Msg), maxRemark)
	require.Empty(t, said("info"))

	require.Equal(t, to, log.Writer(), "it is as it was")
	require.Equal(t, flags, log.Flags())
	var own bytes.Buffer
	log.SetOutput(&own)
	defer log.SetOutput(to)
	log.Print("mine")
	require.Contains(t, own.String(), "mine")
}
