package token_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/proposer/token"
)

// FuzzKeySet reads any bytes as a key set: what counts has an id, and nothing
// counts twice.
func FuzzKeySet(f *testing.F) {
	f.Add(keySet(ed(f, "a").public(), ec(f, "b").public()))
	for _, content := range brokenFiles(f) {
		if len(content) < 10<<10 {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kids, err := token.Kids(b)
		if err != nil && kids != nil {
			t.Error("keys beside an error")
		}
		slices.Sort(kids)
		if slices.Contains(kids, "") || len(slices.Compact(slices.Clone(kids))) != len(kids) {
			t.Errorf("kids %q", kids)
		}
	})
}

// FuzzVerify tries any text as a token: there is one spelling of the good one.
func FuzzVerify(f *testing.F) {
	s := ed(f, "ed")
	v, err := token.New(token.Config{Issuers: []token.Issuer{fileIssuer(keyFile(f, keySet(s.public())))}})
	must(f, err)
	good := s.token(f, "urn:issuer", nil)
	now := time.Now()
	f.Add(good)
	f.Add(good + "=")
	f.Add(raw(s, `{"alg":"EdDSA","kid":"ed"}`, `{"iss":"urn:issuer"}`))
	f.Fuzz(func(t *testing.T, compact string) {
		if c, err := v.Verify(t.Context(), compact, now); err == nil && compact != good {
			t.Errorf("accepted as %+v: %q", c, compact)
		}
	})
}
