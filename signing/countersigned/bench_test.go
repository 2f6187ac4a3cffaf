package countersigned_test

import (
	"slices"
	"testing"

	"github.com/countersign/countersign/signing/countersigned"
)

// BenchmarkVerify is the verification of one simple transfer from scratch, on
// all processors: three approvals, the user's signature, the payload, the
// shares' hashes.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	asked := w.transfer()
	c := countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: w.approvals(asked, "")}
	b.ResetTimer()
	for b.Loop() {
		if f, err := w.v.Verify(b.Context(), c); err != nil || f.Request == nil {
			b.Fatal(f.Reasons, err)
		}
	}
}

// BenchmarkVerifyAll is the same for each of many cases.
func BenchmarkVerifyAll(b *testing.B) {
	w := newWorld(b)
	asked := w.transfer()
	c := countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: w.approvals(asked, "")}
	cases := slices.Repeat([]countersigned.Case{c}, 64)
	for b.Loop() {
		for _, e := range w.v.VerifyAll(b.Context(), cases) {
			if e.Err != nil || e.Finding.Request == nil {
				b.Fatal(e.Finding.Reasons, e.Err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(cases)), "ns/case")
}

// BenchmarkCarryOut is what comes after: three shares and the account's key
// opened, one signature made and verified, everything wiped.
func BenchmarkCarryOut(b *testing.B) {
	w := newWorld(b)
	asked := w.transfer()
	c := countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: w.approvals(asked, "")}
	for b.Loop() {
		b.StopTimer()
		f, err := w.v.Verify(b.Context(), c)
		must(b, err)
		_, err = f.Request.Intent()
		must(b, err)
		b.StartTimer()
		if _, err := f.Request.CarryOut(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
