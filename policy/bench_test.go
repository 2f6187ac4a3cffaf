package policy_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/policy"
)

// BenchmarkBatch is one batch through the handler and its commit, without the
// queue's own statements: with a decider that records nothing and with one
// that records every approval.
func BenchmarkBatch(b *testing.B) {
	deciders := map[string]func() policy.Decider{
		"stateless": func() policy.Decider { return always(policy.Approve) },
		"recording": func() policy.Decider { return newCounter(1 << 30) },
	}
	for name, decider := range deciders {
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				w := initialised(b)
				i := w.start(decider()).ready()
				tasks := w.tasks(size)
				i.deliver(tasks...)
				b.ResetTimer()
				for b.Loop() {
					i.deliver(tasks...)
				}
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}
