package countersigned_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// keyOpeners are the names that lead to a private key, by import path: what
// opens shares, seeds and account keys, and what names the signing service's
// own part.
var keyOpeners = map[string][]string{
	"github.com/countersign/countersign/secrets":           {"PurposeWallet"},
	"github.com/countersign/countersign/secrets/hpkeshare": {"Receive", "NewEpochKey"},
	"github.com/countersign/countersign/wallet":            {"OpenSeed", "OpenKey", "Seal", "NewShare"},
}

// mayOpen are the packages that define those names, and the one that uses
// them.
var mayOpen = []string{"secrets", "secrets/hpkeshare", "wallet", "signing/countersigned"}

// TestOnlyWayToAKey: no other code of the program than this package even names
// what opens a key. Inside it, the one caller is CarryOut, which needs a
// *Request, which only Verify makes.
func TestOnlyWayToAKey(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, ok := range mayOpen {
			if dir == ok {
				return nil
			}
		}
		files++
		for _, use := range uses(t, path) {
			t.Errorf("%s uses %s", path, use)
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}

// uses lists the key openers that a file names.
func uses(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Logf("%s does not parse: %v", path, err)
		return nil
	}
	forbidden := map[string]bool{}
	for _, imported := range file.Imports {
		importPath := strings.Trim(imported.Path.Value, `"`)
		name := filepath.Base(importPath)
		if imported.Name != nil {
			name = imported.Name.Name
		}
		for _, opener := range keyOpeners[importPath] {
			forbidden[name+"."+opener] = true
		}
		if name == "." && keyOpeners[importPath] != nil {
			return []string{importPath + " by a dot import"}
		}
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && forbidden[x.Name+"."+s.Sel.Name] {
				out = append(out, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return out
}
