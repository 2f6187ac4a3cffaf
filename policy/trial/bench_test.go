package trial_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/trial"
)

// BenchmarkSimulate decides recorded requests again under the treasury template;
// one operation is one request.
func BenchmarkSimulate(b *testing.B) {
	const many = 1000
	r := newRecorder(b, nil)
	for i := range many {
		r.pay(day.Add(time.Duration(i)*time.Minute), "20 usdc", said{approve(), approve(), approve()})
	}
	deployment, err := message.ParseHash(r.sandbox.Active.Deployment)
	if err != nil {
		b.Fatal(err)
	}
	in := trial.Interpreter(deployment, message.PolicyRoles(), r.sandbox)
	b.ReportAllocs()
	for done := 0; b.Loop(); done++ {
		if done%many != 0 {
			continue
		}
		s, err := trial.NewSimulator(r.sandbox.Active, in, day, day.Add(24*time.Hour)).Run(b.Context(), each(r.past))
		if err != nil || s.Decided != many {
			b.Fatalf("%v, %d of %d", err, s.Decided, many)
		}
	}
}
