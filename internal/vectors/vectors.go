// Package vectors reads the public test vectors that lie outside the
// repository: in ../shared beside it, or where COUNTERSIGN_SHARED says. Only
// tests import it.
package vectors

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Load decodes the JSON file shared/vectors/<name> into v. Where the file is
// absent the test is skipped with a word on how to get it; with CI=true in the
// environment it fails.
func Load(tb testing.TB, name string, v any) {
	tb.Helper()
	path := filepath.Join(root(), "vectors", filepath.FromSlash(name))
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("test vectors missing in CI: %s", name)
		}
		tb.Skipf("test vectors %s missing: set COUNTERSIGN_SHARED to the folder that holds vectors/", name)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatalf("decoding test vectors %s: %v", name, err)
	}
}

func root() string {
	if dir := os.Getenv("COUNTERSIGN_SHARED"); dir != "" {
		return dir
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "shared")
}
