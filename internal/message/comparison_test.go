package message_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAttackMACComparedInVariableTime reads the code itself, because a timed
// test would prove nothing on a shared machine: wherever the product computes
// an HMAC, only hmac.Equal compares byte strings.
func TestAttackMACComparedInVariableTime(t *testing.T) {
	compared := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		calls := callsOf(t, path)
		if calls["hmac.New"] == 0 {
			return nil
		}
		compared += calls["hmac.Equal"]
		for _, variable := range []string{"bytes.Equal", "bytes.Compare", "slices.Equal", "reflect.DeepEqual"} {
			if calls[variable] > 0 {
				t.Errorf("%s makes MACs and calls %s", path, variable)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared < 2 {
		t.Errorf("found %d constant-time comparisons, want those of hellos and announcements and of record chains", compared)
	}
}

// callsOf counts the calls of package functions in a file, as "package.Name".
func callsOf(t *testing.T, path string) map[string]int {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok {
				calls[pkg.Name+"."+s.Sel.Name]++
			}
		}
		return true
	})
	return calls
}
