package policy_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/queue"
)

// TestSignatureFromTheFutureIsPutOff: what this service's clock takes for a
// signature from the future is neither approved nor rejected, which would be for
// good, until its time has come.
func TestSignatureFromTheFutureIsPutOff(t *testing.T) {
	w := initialised(t)
	i := w.start(authorization.New(w.clock.watch())).ready()
	const ahead = 5 * time.Minute
	w.clock.advance(ahead)
	task := w.task()
	w.clock.advance(-ahead)
	before := w.rows()
	if v := i.deliver(task)[0]; v.Disposition != queue.Retry || v.Reply != nil {
		t.Fatalf("verdict %+v, want it put off", v)
	}
	if n := w.rows() - before; n > 1 { // the policy may be on record
		t.Errorf("%d entries were written", n)
	}
	w.clock.advance(ahead)
	if a, _ := i.one(task); a.Decision != message.Approve {
		t.Fatalf("got %+v, want an approval", a)
	}
}

// TestAttackRejectionForgottenByClock: an instance that starts, and decides,
// while its clock is 40 days ahead still has what its role rejected when the
// clock is right again.
func TestAttackRejectionForgottenByClock(t *testing.T) {
	w := initialised(t)
	task := w.task()
	if a, _ := w.start(always(policy.Reject)).ready().one(task); a.Decision != message.Reject {
		t.Fatalf("got %+v, want a rejection", a)
	}
	const ahead = 40 * 24 * time.Hour
	w.clock.advance(ahead)
	w.openEpoch()
	i := w.start(always(policy.Approve)).ready()
	for range 2 {
		i.one(w.task())
		w.clock.advance(11 * time.Minute)
		w.openEpoch()
		i.ready()
	}
	w.clock.advance(-ahead - 22*time.Minute)
	if a, _ := i.one(task); a.Decision != message.Reject {
		t.Fatalf("got %+v, want the rejection again", a)
	}
}
