// Package repotest checks what holds for the repository as a whole.
package repotest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryPackageHasExactlyOneDocComment(t *testing.T) {
	docs := map[string]int{}
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if _, ok := docs[dir]; !ok {
			docs[dir] = 0
		}
		if file.Doc != nil && !ast.IsGenerated(file) {
			docs[dir]++
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(docs), 20)
	for dir, n := range docs {
		if strings.HasSuffix(dir, "wireconnect") { // generated
			continue
		}
		require.Equal(t, 1, n, "package comments in %s", dir)
	}
}
