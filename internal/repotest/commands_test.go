package repotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-p2p/shoal/cmd/shoal/cli"
)

// TestCommandsInDocumentsAreUnderstood parses the commands of shoal that stand in
// the shell blocks of the documents: there are such commands, with such flags.
func TestCommandsInDocumentsAreUnderstood(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	seen := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, command := range shellCommands(string(text)) {
			args := strings.Fields(command)
			if args[0] != "shoal" && args[0] != "bin/shoal" {
				continue
			}
			seen++
			cmd, rest, err := cli.New().Find(args[1:])
			require.NoError(t, err, "%s: %s", file, command)
			require.True(t, cmd.Runnable(), "%s: %s", file, command)
			require.NoError(t, cmd.ParseFlags(rest), "%s: %s", file, command)
			require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), "%s: %s", file, command)
		}
	}
	require.Greater(t, seen, 10)
}

// shellCommands are the lines of blocks marked sh, continued ones whole.
func shellCommands(text string) (all []string) {
	inside := false
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		switch line = strings.TrimSpace(line); {
		case line == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && line != "" && line[0] != '#':
			for _, part := range strings.Split(line, "&&") {
				if part = strings.TrimSpace(part); part != "" {
					all = append(all, part)
				}
			}
		}
	}
	return all
}
