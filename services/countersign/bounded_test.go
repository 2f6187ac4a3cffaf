package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestOutOfBounds: a number that means nothing is refused before anything is
// asked of anybody, and the person is told what is wrong with it.
func TestOutOfBounds(t *testing.T) {
	t.Setenv(profileVariable, "")
	tests := map[string]struct{ line, want string }{
		"limit/negative":    {"request list --limit -1", "-1 is below 1"},
		"limit/zero":        {"wallet list --limit 0", "0 is below 1"},
		"limit/of-accounts": {"account list --wallet x --limit -3", "-3 is below 1"},
		"limit/words":       {"request list --limit many", "not a whole number"},
		"wait/negative":     {"wallet create --wait -1s", "-1s is below 0s"},
		"wait/words":        {"wallet create --wait soon", "not a length of time"},
		"expires/negative":  {"wallet create --expires -1s", "-1s is below 1s"},
		"expires/zero":      {"account create --wallet x --expires 0", "0s is below 1s"},
		"expires/too-long":  {"wallet create --expires 169h", "169h0m0s is more than 168h0m0s"},
		"update/expires":    {"policy update f --signature f --expires -1s", "-1s is below 1s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := execute(t.Context(), append([]string{"--json"}, strings.Fields(tt.line)...), &out, &errOut)
			var said struct{ Error, Next string }
			if err := json.Unmarshal(errOut.Bytes(), &said); err != nil {
				t.Fatalf("%v: %s", err, &errOut)
			}
			if code != exitUsage || !strings.Contains(said.Error, tt.want) || !strings.HasPrefix(said.Next, "run: countersign ") {
				t.Errorf("exit code %d, %+v, want %q", code, said, tt.want)
			}
		})
	}
	for _, line := range []string{"wallet list --limit 1", "wallet create --wait 0 --expires 1s", "wallet create --wait 5m --expires 168h"} {
		var out, errOut bytes.Buffer
		if code := execute(t.Context(), strings.Fields(line), &out, &errOut); code != exitError || !strings.Contains(errOut.String(), "no deployment is named") {
			t.Errorf("%s: exit code %d, %s", line, code, &errOut)
		}
	}
}
