package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestIssuerPort(t *testing.T) {
	tests := map[string]struct {
		issuer string
		want   uint16
	}{
		"of-https":       {"https://login.example", 443},
		"of-its-own":     {"https://login.example:8443/realm", 8443},
		"of-an-address":  {"https://[2001:db8::1]", 443},
		"of-both":        {"https://[2001:db8::1]:444/", 444},
		"fail/no-number": {"https://login.example:port", 0},
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "") // read once, at the first call
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := issuerPort(tt.issuer)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("port is %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// TestFoldersOf: the folder in which a file is replaced, and that of what it
// links to, as mounted secrets do in two steps.
func TestFoldersOf(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, folder := range []string{"mount/..one", "other"} {
		if err := os.MkdirAll(in(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"mount/..one/jwks.json", "other/jwks.json"} {
		if err := os.WriteFile(in(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"mount/..data": "..one", "mount/jwks.json": "..data/jwks.json", "linked.json": "other/jwks.json"} {
		if err := os.Symlink(target, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"other/jwks.json": "other", "mount/jwks.json": "mount", "linked.json": "other"} {
		got, err := foldersOf(in(path))
		if err != nil || !slices.Contains(got, in(want)) {
			t.Errorf("%s: folders are %v, %v; want %s among them", path, got, err, in(want))
		}
	}
	if got, err := foldersOf(in("none.json")); err == nil {
		t.Errorf("fail/none: folders are %v", got)
	}
}
