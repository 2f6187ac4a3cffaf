package judge_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// BenchmarkJudge judges a plain transfer by each role's section of a document
// with five assets, for a wallet that has moved a thousand times today.
func BenchmarkJudge(b *testing.B) {
	for _, role := range message.PolicyRoles() {
		b.Run(role, func(b *testing.B) {
			w := newWorld(b, role)
			active := w.d.Active(func(doc *document.Document) {
				for _, chain := range []string{"eip155:11155111", "eip155:1337", "eip155:31337"} {
					deploymenttest.Limit(doc, chain+"/slip44:60", "100", "1000")
					deploymenttest.AskAbove(doc, chain+"/slip44:60", "10")
				}
			})
			for i := range 1000 {
				w.now = start.Add(time.Duration(i) * time.Second)
				_, records, err := w.Judge.Judge(b.Context(), active, w.transfer("1"))
				if err != nil {
					b.Fatal(err)
				}
				for _, body := range records {
					if err := w.Replay(body); err != nil {
						b.Fatal(err)
					}
				}
			}
			in := w.transfer("1")
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := w.Judge.Judge(b.Context(), active, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
