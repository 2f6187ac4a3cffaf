package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestPolicyScripts tries documents out as people do: see testdata/policy.
func TestPolicyScripts(t *testing.T) {
	templates, err := filepath.Abs(filepath.Join("..", "..", "deploy", "policies"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "policy"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("TEMPLATES", templates)
			e.Setenv("COUNTERSIGN_PROFILE", "")
			return nil
		},
	})
}
