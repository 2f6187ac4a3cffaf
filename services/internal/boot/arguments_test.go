package boot_test

import (
	"context"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/release"
	"github.com/countersign/countersign/services/internal/boot"
)

// TestArguments: what an operator asks of a program comes on standard output and
// needs no configuration; what is wrong with a command line goes to standard
// error.
func TestArguments(t *testing.T) {
	version := "fraud version " + release.This().String() + "\n"
	tests := map[string]struct {
		args []string
		code int
		out  string // what standard output begins with
		says string // what standard error begins with
	}{
		"version":               {args: []string{"--version"}, out: version},
		"version/short":         {args: []string{"-v"}, out: version},
		"help":                  {args: []string{"--help"}, out: "usage:\n  fraud run --config FILE\n"},
		"help/short":            {args: []string{"-h"}, out: "usage:\n"},
		"help/of-a-command":     {args: []string{"run", "--help"}, out: "usage:\n"},
		"run":                   {args: []string{"run", "--config", "x.yaml"}, out: "runs x.yaml"},
		"with-an-argument":      {args: []string{"secret", "--config", "x.yaml", "ID"}, out: "tells ID of x.yaml"},
		"fail/nothing":          {code: 2, says: "fraud: no command given\nusage:\n"},
		"fail/unknown-command":  {args: []string{"walk"}, code: 2, says: `fraud: unknown command "walk"`},
		"fail/unknown-flag":     {args: []string{"run", "--cofnig", "x"}, code: 2, says: "fraud: flag provided but not defined"},
		"fail/no-configuration": {args: []string{"run"}, code: 2, says: "fraud: exactly --config FILE is wanted"},
		"fail/no-argument":      {args: []string{"secret", "--config", "x.yaml"}, code: 2, says: "fraud: exactly --config FILE ID is wanted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out, errOut strings.Builder
			commands := []boot.Command{
				{Name: "run", Run: func(_ context.Context, path string) error { out.WriteString("runs " + path); return nil }},
				{Name: "secret", Argument: "ID", RunWith: func(_ context.Context, path, id string) error {
					out.WriteString("tells " + id + " of " + path)
					return nil
				}},
			}
			code := boot.Run(t.Context(), "fraud", commands, tt.args, &out, &errOut)
			if code != tt.code || !strings.HasPrefix(out.String(), tt.out) || !strings.HasPrefix(errOut.String(), tt.says) {
				t.Errorf("exit code %d, says %q and %q", code, &out, &errOut)
			}
			if (out.Len() == 0) == (tt.code == 0) || (errOut.Len() == 0) != (tt.code == 0) {
				t.Errorf("on the wrong stream: %q and %q", &out, &errOut)
			}
		})
	}
}
