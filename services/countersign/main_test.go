package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the command line available to the scripts under its own name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersign": main})
}

// TestScripts runs the command line as people do: see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("COUNTERSIGN_PROFILE", "")
			return nil
		},
	})
}

func TestParseAmount(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"wei":                   {"21000", "21000"},
		"wei-by-name":           {"7wei", "7"},
		"gwei":                  {"30gwei", "30000000000"},
		"ether":                 {"2 ether", "2000000000000000000"},
		"fraction":              {"0.5ether", "500000000000000000"},
		"smallest":              {"0.000000000000000001ether", "1"},
		"zero":                  {"0", "0"},
		"fail/too-fine":         {"0.0000000000000000001ether", ""},
		"fail/fraction-of-wei":  {"0.5", ""},
		"fail/negative":         {"-1", ""},
		"fail/exponent":         {"1e18", ""},
		"fail/hex":              {"0x10", ""},
		"fail/empty":            {"", ""},
		"fail/only-unit":        {"ether", ""},
		"fail/unknown-unit":     {"1finney", ""},
		"fail/two-points":       {"1.0.0ether", ""},
		"fail/space-inside":     {"1 000", ""},
		"fail/thousands":        {"1,000", ""},
		"fail/arabic-digits":    {"١ether", ""},
		"fail/plus":             {"+1", ""},
		"fail/underscore":       {"1_000", ""},
		"fail/trailing-newline": {"1\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseAmount(tt.in)
			if (err != nil) != (tt.want == "") || got != tt.want {
				t.Errorf("parseAmount(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

// TestEveryCommandIsDocumented holds the tree of commands to what the help
// promises: a short text, no argument that is silently dropped, --json.
func TestEveryCommandIsDocumented(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := execute(context.Background(), []string{"--help"}, &out, &errOut); code != 0 {
		t.Fatalf("help ended with %d: %s", code, &errOut)
	}
	root := (&app{}).root()
	for _, c := range root.Commands() {
		if c.Short == "" || c.GroupID == "" {
			t.Errorf("%s has no short text or no group", c.Name())
		}
		for _, sub := range c.Commands() {
			if sub.Short == "" || sub.Args == nil {
				t.Errorf("%s has no short text or takes any arguments", sub.CommandPath())
			}
			if sub.InheritedFlags().Lookup("json") == nil {
				t.Errorf("%s has no --json", sub.CommandPath())
			}
		}
	}
}
