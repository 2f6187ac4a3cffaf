package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/history"
)

// forgetful is a counter that may have forgotten everything.
type forgetful struct {
	*counter
	t      testing.TB
	lacks  bool
	forgot int
	told   message.PolicyRef // by the last Retain
}

func (f *forgetful) Mark() {
	if f.lacks {
		f.t.Error("a batch is decided on half a memory")
	}
	f.counter.Mark()
}

func (f *forgetful) Retain(active *document.Active) bool {
	if active != nil {
		f.told = active.Ref
	}
	return !f.lacks
}

func (f *forgetful) Forget() {
	f.forgot++
	f.lacks, f.counted = false, map[message.Hash]bool{}
}

func (w *world) forgetful(limit int) (*forgetful, *instance) {
	f := &forgetful{counter: newCounter(limit), t: w.t}
	return f, w.start(f).ready()
}

// forget has the decider forget all, as if it had not kept it. The instance does
// nothing meanwhile.
func (f *forgetful) forget() { f.lacks, f.counted = true, map[message.Hash]bool{} }

// TestForgottenIsReadAgain: before anything is decided on, by each of two
// replicas, and what the runtime itself remembers is as it was.
func TestForgottenIsReadAgain(t *testing.T) {
	w := initialised(t)
	f, a := w.forgetful(3)
	_, b := w.forgetful(3)
	if n := approvals(a.deliver(w.tasks(2)...)) + approvals(b.deliver(w.task())); n != 3 {
		t.Fatalf("%d approvals", n)
	}
	refused := w.task()
	before, _ := a.one(refused)
	rows := w.rows()
	f.limit = 4
	f.forget()
	if got, _ := a.one(refused); got.Decision != message.Reject || code(got) != code(before) {
		t.Fatalf("a rejection was forgotten: %s because of %v", got.Decision, got.Reasons)
	}
	if n := approvals(a.deliver(w.tasks(3)...)); n != 1 || f.forgot != 1 || len(f.counted) != 4 {
		t.Fatalf("%d approvals, forgot %d times, %d counted", n, f.forgot, len(f.counted))
	}
	if n := w.rows(); n != rows+1 {
		t.Fatalf("%d rows after %d: reading writes nothing", n, rows)
	}
	if f.told != w.policies.Active().Ref {
		t.Fatalf("told of %v", f.told)
	}
	must(t, a.Audit(t.Context()))
}

// TestForgottenAndUnread: while the records cannot be read nothing is decided, and
// what is decided afterwards is decided on all of them.
func TestForgottenAndUnread(t *testing.T) {
	w := initialised(t)
	f, i := w.forgetful(3)
	i.deliver(w.tasks(3)...)
	f.forget()
	w.attack("ALTER TABLE countersign.record RENAME TO away")
	for range 2 {
		if v, err := i.attempt(nil, w.task()); err == nil {
			t.Fatalf("verdicts %+v", v)
		}
	}
	if err := i.Append(t.Context(), []byte(`"00"`)); err == nil {
		t.Fatal("appended")
	}
	w.attack("ALTER TABLE countersign.away RENAME TO record")
	w.until("it was not read again", func() error {
		v, err := i.attempt(nil, w.task())
		if err == nil && approvals(v) > 0 {
			t.Fatal("approved on half a memory")
		}
		return err
	})
	if len(f.counted) != 3 || f.forgot != 1 {
		t.Fatalf("%d counted, forgot %d times", len(f.counted), f.forgot)
	}
}

// TestAttackOlderChainWhenForgotten: an older chain is put back when a replica
// reads it again.
func TestAttackOlderChainWhenForgotten(t *testing.T) {
	w := initialised(t)
	f, i := w.forgetful(1)
	i.deliver(w.task())
	w.attack("DELETE FROM countersign.record WHERE seq > 1")
	f.forget()
	w.denied(i)
	if err := i.Audit(t.Context()); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("audit: %v", err)
	}
}

// TestVoteWhenForgotten: a vote is recorded behind all that was read again.
func TestVoteWhenForgotten(t *testing.T) {
	w := initialised(t)
	f, i := w.forgetful(5)
	i.deliver(w.task())
	f.forget()
	i.deliver(w.taskOf("secrets.rotate", "", "", struct{}{}, w.clock.Now().Add(time.Hour)))
	vote := message.Sum([]byte("vote"))
	must(t, i.Append(t.Context(), []byte(`"`+vote.String()+`"`)))
	if !f.counted[vote] || len(f.counted) != 2 {
		t.Fatalf("%d counted", len(f.counted))
	}
}

var _ policy.Rereader = (*forgetful)(nil)
