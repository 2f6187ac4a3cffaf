package policy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/history"
)

const (
	zeros     = "0000000000000000000000000000000000000000000000000000000000000000"
	rejection = `{"request":"x","envelope":"` + zeros + `","statement":"` + zeros + `","reasons":[{"code":"a"}],` +
		`"policy":{"version":1,"hash":"` + zeros + `"},"expires":"2030-01-01T00:00:00Z","time":"2030-01-01T00:00:00Z"}`
)

func entryOf(records string) []byte { return []byte(`{"version":1,"records":[` + records + `]}`) }

func TestEntries(t *testing.T) {
	cases := map[string]struct {
		body []byte
		good bool
	}{
		"ok/empty":              {entryOf(""), true},
		"ok/decider":            {entryOf(`{"kind":"decider","body":"AAAA"}`), true},
		"ok/policy":             {entryOf(`{"kind":"policy","policy":{"version":1,"hash":"` + zeros + `"}}`), true},
		"ok/rejection":          {entryOf(`{"kind":"rejection","rejection":` + rejection + `}`), true},
		"fail/other-version":    {[]byte(`{"version":2,"records":[]}`), false},
		"fail/other-kind":       {entryOf(`{"kind":"approval","body":"AAAA"}`), false},
		"fail/no-body":          {entryOf(`{"kind":"decider"}`), false},
		"fail/two-bodies":       {entryOf(`{"kind":"decider","policy":{"version":1,"hash":"` + zeros + `"},"body":"AAAA"}`), false},
		"fail/body-of-another":  {entryOf(`{"kind":"rejection","body":"AAAA"}`), false},
		"fail/unknown-member":   {entryOf(`{"kind":"decider","body":"AAAA","x":1}`), false},
		"fail/duplicate-member": {entryOf(`{"kind":"decider","kind":"decider","body":"AAAA"}`), false},
		"fail/white-space":      {entryOf(` {"kind":"decider","body":"AAAA"}`), false},
		"fail/trailing":         {append(entryOf(""), '\n'), false},
		"fail/too-large":        {entryOf(`{"kind":"decider","body":"` + strings.Repeat("A", 256<<10) + `"}`), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			again, err := policy.DecodeEntry(tc.body)
			if tc.good != (err == nil) {
				t.Fatalf("decoding: %v", err)
			}
			if tc.good && !bytes.Equal(again, tc.body) {
				t.Fatalf("encodes as %s", again)
			}
		})
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(entryOf(`{"kind":"decider","body":"AAAA"}`))
	f.Add(entryOf(`{"kind":"policy","policy":{"version":1,"hash":"` + zeros + `"}},{"kind":"rejection","rejection":` + rejection + `}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		again, err := policy.DecodeEntry(body)
		if err == nil && len(body) <= history.MaxBody && !bytes.Equal(again, body) {
			t.Fatalf("%q encodes as %q", body, again)
		}
	})
}
