package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// verboseReasons are as many and as long as a rejection has.
func verboseReasons(n int) (out []message.Reason) {
	for i := range 16 {
		out = append(out, message.Reason{
			Code: fmt.Sprint("code_of_reason_", i), Detail: fmt.Sprint("rule ", i, ", request ", n, ": ", strings.Repeat("x", 250)),
		})
	}
	return out
}

// TestAttackManyRejections: a user whose requests are all rejected, for as many
// and as long reasons as may be, costs every role few bytes for each.
func TestAttackManyRejections(t *testing.T) {
	const many = 20_000
	f := policy.NewRefused()
	before := heap()
	for n := range many {
		f.Remember(message.Sum(fmt.Append(nil, n)), time.Now().Add(time.Hour), verboseReasons(n))
	}
	each := (int64(heap()) - int64(before)) / many
	t.Logf("%d bytes for each rejection", each)
	if f.Len() != many || each > 250 {
		t.Errorf("%d rejections, %d bytes for each", f.Len(), each)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestRejectionSaidAgain: the same statement is rejected again for the first
// reason that it was rejected for, as far as that is kept, also by an instance that
// has read it.
func TestRejectionSaidAgain(t *testing.T) {
	w := initialised(t)
	all := verboseReasons(7)
	first := w.start(deciderFunc(func(policy.Request) (policy.Decision, error) {
		return policy.Decision{Verdict: policy.Reject, Reasons: all}, nil
	})).ready()
	task := w.task()
	if a, _ := first.one(task); len(a.Reasons) != len(all) || a.Reasons[15].Code != all[15].Code {
		t.Fatalf("at first: %v", a.Reasons)
	}
	for _, i := range []*instance{first, w.start(always(policy.Approve)).ready()} {
		a, _ := i.one(task)
		if a.Decision != message.Reject || len(a.Reasons) != 1 || a.Reasons[0].Code != all[0].Code ||
			a.Reasons[0].Detail != all[0].Detail[:64] {
			t.Errorf("again: %s because of %v", a.Decision, a.Reasons)
		}
	}
}
