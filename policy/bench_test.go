package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/queue"
)

// BenchmarkBatch is one batch through the handler, without the queue's own
// statements: with a decider that records nothing and with one that records
// every approval.
func BenchmarkBatch(b *testing.B) {
	deciders := map[string]func() policy.Decider{
		"stateless": func() policy.Decider { return always(policy.Approve) },
		"recording": func() policy.Decider { return newCounter(1 << 30) },
	}
	for name, decider := range deciders {
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				w := initialised(b)
				benchmarkBatch(b, w, decider(), w.tasks(size))
			})
		}
	}
}

// BenchmarkTransfers is BenchmarkBatch with each role's own decider, for plain
// transfers.
func BenchmarkTransfers(b *testing.B) {
	deciders := map[string]func(w *world) policy.Decider{
		"authorization": func(w *world) policy.Decider { return authorization.New(w.clock.watch()) },
		"fraud":         func(w *world) policy.Decider { return fraud.New(w.clock.watch()) },
		"approval":      func(w *world) policy.Decider { return approval.New(w.clock.Now) },
	}
	for name, decider := range deciders {
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				w := initialised(b)
				transfer := w.accounts()
				tasks := make([]queue.Task, size)
				for i := range tasks {
					tasks[i] = transfer("1")
				}
				benchmarkBatch(b, w, decider(w), tasks)
			})
		}
	}
}

func benchmarkBatch(b *testing.B, w *world, decider policy.Decider, tasks []queue.Task) {
	b.Helper()
	i := w.start(decider).ready()
	i.deliver(tasks...)
	b.ReportAllocs()
	before := i.statements()
	b.ResetTimer()
	for b.Loop() {
		i.deliver(tasks...)
	}
	b.StopTimer()
	b.ReportMetric(float64(i.statements()-before)/float64(b.N), "statements/batch")
	b.ReportMetric(float64(b.N*len(tasks))/b.Elapsed().Seconds(), "requests/s")
}

// statements returns how many statements have been run in the database, each a
// transaction of its own. Sessions report once a second, at the end of one.
func (i *instance) statements() (n int64) {
	i.w.t.Helper()
	time.Sleep(1100 * time.Millisecond)
	must(i.w.t, i.Ready(i.w.t.Context()))
	must(i.w.t, i.w.Owner.QueryRow("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n))
	return n
}
