// Package scratchtest fails tests of code that leaves key material behind. Only
// tests import it.
package scratchtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/scratch"
)

// WantNone runs do, and fails unless every buffer that was held meanwhile is
// zero at its end, and each function of by has held one, as in
// "wallet.Sealing.input". The test must not run beside others.
func WantNone(t testing.TB, do func(), by ...string) {
	t.Helper()
	for _, left := range Left(t, do, by...) {
		t.Errorf("not wiped: %s", left)
	}
}

// Left runs do and returns who held the buffers that are not zero at its end; it
// fails unless each function of by has held one.
func Left(t testing.TB, do func(), by ...string) []string {
	t.Helper()
	w := scratch.Begin()
	defer w.End()
	do()
	held := w.Held()
	for _, name := range by {
		if !slices.ContainsFunc(held, func(h string) bool { return strings.Contains(h, name+":") }) {
			t.Errorf("%s held nothing: the test does not reach it", name)
		}
	}
	return w.Left()
}
