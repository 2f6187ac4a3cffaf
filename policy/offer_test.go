package policy_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/queue"
)

// offered is a task as it is heard of.
func offered(task queue.Task) queue.Task {
	task.Offered, task.Expires = true, time.Time{}
	return task
}

// TestAttackForgedOffer: of what was only heard nothing is rejected, so that
// nobody who can notify spoils a statement that is yet to come, or is decided.
func TestAttackForgedOffer(t *testing.T) {
	w := initialised(t)
	var verdict policy.Verdict
	i := w.start(deciderFunc(func(r policy.Request) (policy.Decision, error) { return always(verdict)(r) })).ready()
	verdict = policy.Approve
	i.one(w.task()) // the policy is on record
	rows := w.rows()
	true1 := w.task()
	for name, task := range map[string]queue.Task{
		"junk": {Request: true1.Request, Body: []byte("junk"), Hash: message.Sum([]byte("junk")), Offered: true},
		"late": offered(w.taskOf(message.KindWalletCreate, "", "", struct{}{}, w.clock.Now().Add(-time.Hour))),
	} {
		if v := i.deliver(task)[0]; v.Disposition != queue.Reread || v.Reply != nil {
			t.Errorf("%s: verdict %+v", name, v)
		}
	}
	verdict = policy.Reject // as where the envelope has another's signature
	if v := i.deliver(offered(true1))[0]; v.Disposition != queue.Reread || v.Reply != nil {
		t.Errorf("verdict %+v", v)
	}
	if n := w.rows(); n != rows {
		t.Errorf("%d records of what was only heard", n-rows)
	}
	verdict = policy.Approve
	if v := i.deliver(offered(true1))[0]; v.Disposition != queue.Done || v.Reply == nil || v.Reply.Decisive {
		t.Errorf("the true offer: verdict %+v", v)
	}
	verdict = policy.Reject
	if a, _ := i.one(w.task()); a.Decision != message.Reject {
		t.Error("what was read is not rejected")
	}
	if n := w.rows(); n != rows+1 {
		t.Errorf("%d records of one rejection", n-rows)
	}
}

// TestAttackForgedOfferCounts: one statement in many envelopes, none of which is
// stored, uses up no limit.
func TestAttackForgedOfferCounts(t *testing.T) {
	w := initialised(t)
	c := newCounter(2)
	i := w.start(c).ready()
	i.one(w.task())
	rows := w.rows()
	for range 3 {
		work, err := i.handler(t.Context(), []queue.Task{offered(w.task())})
		if err != nil || work.Verdicts[0].Reply != nil {
			t.Errorf("%+v, %v", work, err)
		}
	}
	if len(c.counted) != 1 || w.rows() != rows {
		t.Errorf("%d counted, %d more records", len(c.counted), w.rows()-rows)
	}
	task := w.task()
	w.store(task)
	if a, _ := i.one(offered(task)); a.Decision != message.Approve || len(c.counted) != 2 {
		t.Errorf("the stored one: %s, %d counted", a.Decision, len(c.counted))
	}
}

// store writes a request and the role's task of it.
func (w *world) store(task queue.Task) {
	w.t.Helper()
	w.attack("INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)" +
		" VALUES ('" + task.Request.String() + "', 'x', '\\x" + task.Hash.String() + "', '', '', '', '', now())")
	w.attack("INSERT INTO countersign.task (consumer, request_id) VALUES ('" + role + "', '" + task.Request.String() + "')")
}

// TestAttackRepeatedOffer: an offer of what the role has answered, sent over and
// over, adds no record.
func TestAttackRepeatedOffer(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(2)).ready()
	i.one(w.task()) // the policy is on record
	task := w.task()
	w.store(task)
	i.one(offered(task))
	w.attack("DELETE FROM countersign.task WHERE request_id = '" + task.Request.String() + "'") // as whoever settles does
	rows := w.rows()
	for range 3 {
		work, err := i.handler(t.Context(), []queue.Task{offered(task)})
		if err != nil || work.Verdicts[0].Reply != nil {
			t.Errorf("%+v, %v", work, err)
		}
	}
	if n := w.rows(); n != rows {
		t.Errorf("%d records of what was answered", n-rows)
	}
}

// TestRejectionByAnotherReplica: what another replica rejected just before is not
// approved, although nobody looked at the chain first.
func TestRejectionByAnotherReplica(t *testing.T) {
	w := initialised(t)
	a, b := w.start(always(policy.Reject)).ready(), w.start(always(policy.Approve)).ready()
	b.one(w.task()) // the policy is on record
	task := w.task()
	a.one(task)
	work, err := b.handler(t.Context(), []queue.Task{task})
	must(t, err)
	if work.Basis == nil || w.holds(work.Basis) {
		t.Fatalf("basis %+v holds", work.Basis)
	}
	if decision, _ := b.one(task); decision.Decision != message.Reject {
		t.Fatalf("%s", decision.Decision)
	}
}

// TestUnconfirmedBasis: until its last verdicts are known to be given out a
// replica catches up before it decides; an outage then decides nothing.
func TestUnconfirmedBasis(t *testing.T) {
	w := initialised(t)
	a, b := w.start(always(policy.Reject)).ready(), w.start(always(policy.Approve)).ready()
	b.one(w.task())
	if _, err := b.attempt(crash, w.task()); err == nil {
		t.Fatal("no crash")
	}
	task := w.task()
	a.one(task)
	work, err := b.handler(t.Context(), []queue.Task{task})
	must(t, err)
	if !w.holds(work.Basis) {
		t.Error("decided without what it should have read")
	}
	w.attack("ALTER TABLE countersign.record RENAME TO away")
	if _, err := b.handler(t.Context(), w.tasks(1)); err == nil {
		t.Error("decided during an outage")
	}
	w.attack("ALTER TABLE countersign.away RENAME TO record")
	if decision, _ := b.one(task); decision.Decision != message.Reject {
		t.Errorf("%s", decision.Decision)
	}
}

// TestAttackPanicBesideAnAppend: a panic while approvals are signed beside the
// append of their records fails the delivery; what was appended counts.
func TestAttackPanicBesideAnAppend(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := initialised(t)
	c := newCounter(1)
	cfg := w.config(c)
	cfg.Log = slog.New(panickingLog{slog.DiscardHandler})
	s, err := policy.New(cfg)
	must(t, err)
	i := w.run(s).ready()
	task := w.task()
	if _, err := i.handler(context.Background(), []queue.Task{task}); err == nil {
		t.Fatal("the panic was swallowed")
	}
	if w.rows() != 2 || !c.counted[task.Hash] || c.undone > 0 {
		t.Errorf("%d rows, counted %v: the record was taken back", w.rows(), c.counted)
	}
}
