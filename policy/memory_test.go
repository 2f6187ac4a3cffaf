package policy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/queue"
)

// counter is a decider with state: it approves up to limit different
// envelopes, each counted once.
type counter struct {
	limit   int
	counted map[message.Hash]bool
	marked  []message.Hash // counted since Mark
	undone  int
}

func newCounter(limit int) *counter { return &counter{limit: limit, counted: map[message.Hash]bool{}} }

func (c *counter) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	others := len(c.counted)
	if c.counted[r.EnvelopeHash] {
		others--
	}
	if others >= c.limit {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{{Code: "over_limit"}}}, nil
	}
	body, err := json.Marshal(r.EnvelopeHash)
	return policy.Decision{Verdict: policy.Approve, Records: [][]byte{body}}, err
}

func (c *counter) Replay(body []byte) error {
	var h message.Hash
	if err := json.Unmarshal(body, &h); err != nil {
		return err
	}
	if !c.counted[h] {
		c.counted[h] = true
		c.marked = append(c.marked, h)
	}
	return nil
}

func (c *counter) Mark() { c.marked = nil }

func (c *counter) Keep() {}

func (c *counter) Undo() {
	c.undone += len(c.marked)
	for _, h := range c.marked {
		delete(c.counted, h)
	}
}

func approvals(verdicts []queue.Verdict) (n int) {
	for _, v := range verdicts {
		if v.Reply != nil && !v.Reply.Decisive {
			n++
		}
	}
	return n
}

// TestAttackVelocityRacedInOneBatch: the requests of one batch see each other,
// and all their records are one entry of the chain.
func TestAttackVelocityRacedInOneBatch(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(10)).ready()
	if n := approvals(i.deliver(w.tasks(30)...)); n != 10 {
		t.Fatalf("%d approvals, want 10", n)
	}
	if n := w.rows(); n != 2 {
		t.Fatalf("%d rows, want one for init and one for the batch", n)
	}
}

// TestAttackVelocityForgottenByRollback: an approval that was signed counts,
// although nothing of it was ever settled.
func TestAttackVelocityForgottenByRollback(t *testing.T) {
	w := initialised(t)
	c := newCounter(1)
	i := w.start(c).ready()
	first := w.task()
	if _, err := i.attempt(crash, first); !errors.Is(err, errCrash) {
		t.Fatalf("crash: %v", err)
	}
	other := newCounter(1)
	for _, one := range []*instance{i, w.start(other).ready()} {
		if a, _ := one.one(w.task()); a.Decision != message.Reject {
			t.Fatal("the limit was forgotten")
		}
		if a, _ := one.one(first); a.Decision != message.Approve {
			t.Fatalf("the counted request itself: %v", a.Reasons)
		}
	}
	if !other.counted[first.Hash] || c.undone > 0 {
		t.Fatal("the record was taken back")
	}
}

// TestAttackSignedBeforeRecorded: while the database refuses records, nothing
// that needs one is signed, and nothing of it is remembered.
func TestAttackSignedBeforeRecorded(t *testing.T) {
	for name, decider := range map[string]policy.Decider{
		"fail/approval-that-counts": newCounter(1),
		"fail/rejection":            always(policy.Reject),
		"fail/first-under-a-policy": always(policy.Approve),
	} {
		t.Run(name, func(t *testing.T) {
			w := initialised(t)
			i := w.start(decider).ready()
			mend := w.refusing()
			before := w.rows()
			tasks := w.tasks(3)
			for _, task := range tasks {
				if v, err := i.attempt(nil, task); err == nil {
					t.Fatalf("verdicts %+v", v)
				}
			}
			if c, ok := decider.(*counter); ok && (len(c.counted) > 0 || c.undone != 3) {
				t.Fatalf("%d counted, %d taken back", len(c.counted), c.undone)
			}
			mend()
			v := i.deliver(tasks[2])[0]
			if v.Reply == nil || w.rows() != before+1 {
				t.Fatalf("afterwards: %+v, %d rows after %d", v, w.rows(), before)
			}
		})
	}
}

// TestAttackAppendSwallowed: a database that says neither yes nor no to a record
// gets no signature, and is not asked for ever.
func TestAttackAppendSwallowed(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(5)).ready()
	w.attack("CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
	w.attack("CREATE TRIGGER swallow BEFORE INSERT ON countersign.record FOR EACH ROW EXECUTE FUNCTION swallow()")
	if v := i.deliver(w.task())[0]; v.Disposition != queue.Retry || v.Reply != nil {
		t.Fatalf("verdict %+v", v)
	}
}

// TestAttackAppendLiedAbout: a database that acknowledges a record and drops it
// gains the one answer that it had given its word for, and nothing more.
func TestAttackAppendLiedAbout(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(5)).ready()
	w.attack("CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN" +
		" DELETE FROM countersign.record r WHERE r.role = NEW.role AND r.seq = NEW.seq; RETURN NULL; END $$")
	w.attack("CREATE TRIGGER hide AFTER INSERT ON countersign.record FOR EACH ROW EXECUTE FUNCTION hide()")
	i.deliver(w.task())
	w.denied(i)
	w.attack("DROP TRIGGER hide ON countersign.record")
	w.denied(i)
}

// TestAttackOlderChainWhileRunning: an older chain is put back under a running
// instance, so that it has room under its limit again; also one that another
// replica has gone on writing meanwhile.
func TestAttackOlderChainWhileRunning(t *testing.T) {
	for _, name := range []string{"fail/older", "fail/older-and-continued"} {
		t.Run(name, func(t *testing.T) {
			w := initialised(t)
			i, late := w.start(newCounter(1)).ready(), w.start(newCounter(1)).ready()
			if n := approvals(i.deliver(w.task())); n != 1 {
				t.Fatalf("%d approvals", n)
			}
			w.attack("DELETE FROM countersign.record WHERE seq > 1")
			if name == "fail/older-and-continued" {
				late.deliver(w.task())
			}
			w.denied(i)
		})
	}
}

// TestAppendOfUnknownFate: the connection breaks where a record was committed
// and the answer is on its way. The request comes again, is approved, and
// counts once.
func TestAppendOfUnknownFate(t *testing.T) {
	w := initialised(t)
	lossy := w.lossy()
	cfg := w.config(newCounter(1))
	cfg.DB = lossy.db
	s, err := policy.New(cfg)
	must(t, err)
	i := w.run(s).ready()
	other := w.start(newCounter(1)).ready()
	i.deliver(w.taskOf("secrets.rotate", "", "", struct{}{}, w.clock.Now().Add(time.Hour))) // prepares the append
	before := w.rows()
	lossy.cut.Store(true)
	task := w.task()
	verdicts, err := i.attempt(nil, task) // the driver may have asked again by itself
	if w.rows() == before || lossy.cut.Load() {
		t.Fatalf("nothing was committed: %v", err)
	}
	if err != nil {
		verdicts = i.deliver(task)
	}
	if approvals(verdicts) != 1 {
		t.Fatalf("verdicts %+v", verdicts)
	}
	for _, one := range []*instance{i, other} {
		if a, _ := one.one(w.task()); a.Decision != message.Reject || code(a) != "over_limit" {
			t.Fatalf("a second: %s because of %v", a.Decision, a.Reasons)
		}
	}
	must(t, i.Audit(t.Context()))
}

// TestStatelessDecidersAppendNothing: approvals of a decider without records
// leave the chain alone, but for the first under a policy.
func TestStatelessDecidersAppendNothing(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	for range 5 {
		i.deliver(w.tasks(3)...)
	}
	if n := w.rows(); n != 2 {
		t.Fatalf("%d rows, want init and the policy's", n)
	}
}

func TestAppendReachesOtherReplicas(t *testing.T) {
	w := initialised(t)
	c := newCounter(1)
	a, b := w.start(newCounter(1)).ready(), w.start(c).ready()
	vote := w.task()
	body, err := json.Marshal(vote.Hash)
	must(t, err)
	must(t, a.Append(t.Context(), body))
	if got, _ := b.one(w.task()); got.Decision != message.Reject || !c.counted[vote.Hash] {
		t.Fatal("the other replica did not learn it")
	}
	must(t, a.Unpark(t.Context(), vote.Request))
	if len(w.queue.unparked) != 1 || w.queue.unparked[0] != vote.Request {
		t.Fatalf("unparked %v", w.queue.unparked)
	}
}

// TestAppendOfNonsenseChangesNothing: what the decider cannot read is never
// written, where it would break every replica.
func TestAppendOfNonsenseChangesNothing(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(1)).ready()
	before := w.rows()
	for _, body := range [][]byte{nil, []byte("nonsense"), make([]byte, 1<<20)} {
		if err := i.Append(t.Context(), body); err == nil {
			t.Fatalf("appended %d bytes", len(body))
		}
	}
	if w.rows() != before {
		t.Fatal("written")
	}
	must(t, i.Ready(t.Context()))
}

// TestAppendsAndBatchesTogether: votes come in while requests are decided, on
// several replicas, and nothing stands still or gets lost.
func TestAppendsAndBatchesTogether(t *testing.T) {
	w := initialised(t)
	const replicas, each = 2, 15
	var wg sync.WaitGroup
	for r := range replicas {
		i := w.start(newCounter(1 << 20)).ready()
		tasks := w.tasks(each)
		wg.Go(func() {
			for _, task := range tasks {
				if _, err := i.attempt(nil, task); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for n := range each {
				body, err := json.Marshal(message.Sum(fmt.Appendf(nil, "vote %d %d", r, n)))
				if err == nil {
					err = i.Append(context.Background(), body)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fresh := newCounter(0)
	w.start(fresh).ready()
	if want := 2 * replicas * each; len(fresh.counted) != want {
		t.Fatalf("%d records, want %d", len(fresh.counted), want)
	}
}

// TestInterruptedBatchIsNotADecision: the end of the process while a decider
// thinks rejects nothing.
func TestInterruptedBatchIsNotADecision(t *testing.T) {
	w := initialised(t)
	ctx, cancel := context.WithCancel(t.Context())
	i := w.start(deciderFunc(func(policy.Request) (policy.Decision, error) {
		cancel()
		return policy.Decision{}, ctx.Err()
	})).ready()
	if _, err := i.handler(ctx, w.tasks(1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("handler: %v", err)
	}
}

// TestAttackReplayingPanics: records that the decider chokes on deny.
func TestAttackReplayingPanics(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(5)).ready()
	i.one(w.task())
	other := w.start(&panicking{newCounter(5)})
	var a message.Approval
	w.until("a decision", func() error {
		v := other.deliver(w.task())[0]
		if v.Reply == nil {
			return errors.New(v.Note)
		}
		a, _ = w.open(v.Reply)
		return nil
	})
	if a.Decision != message.Reject || code(a) != policy.ReasonHistory {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
}

type panicking struct{ *counter }

func (*panicking) Replay([]byte) error { panic("choked") }

// TestNothingIsHeldWhileDeciding: a decider may take its time; no transaction
// is open and nothing is locked meanwhile, so that nobody waits for it.
func TestNothingIsHeldWhileDeciding(t *testing.T) {
	w := initialised(t)
	looked := false
	c := newCounter(100)
	i := w.start(&intruding{counter: c, first: func() {
		looked = true
		for what, query := range map[string]string{
			"transactions": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()" +
				" AND usename = $1 AND xact_start IS NOT NULL",
			"locks": "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE usename = $1 AND datname = current_database()",
		} {
			var n int
			must(t, w.Owner.QueryRow(query, database.Role(role)).Scan(&n))
			if n > 0 {
				t.Errorf("%d %s while deciding", n, what)
			}
		}
	}}).ready()
	i.deliver(w.tasks(3)...)
	if !looked || len(c.counted) != 3 {
		t.Fatalf("%d counted", len(c.counted))
	}
}

// TestManyRecordsOfOneBatch do not fit one entry and are all there.
func TestManyRecordsOfOneBatch(t *testing.T) {
	w := initialised(t)
	i := w.start(&verbose{newCounter(1000)}).ready()
	if n := approvals(i.deliver(w.tasks(20)...)); n != 20 {
		t.Fatalf("%d approvals", n)
	}
	if n := w.rows(); n < 3 {
		t.Fatalf("%d rows", n)
	}
	must(t, i.Ready(t.Context()))
	fresh := newCounter(0)
	w.start(&verbose{fresh}).ready()
	if len(fresh.counted) != 20 {
		t.Fatalf("%d records, want 20", len(fresh.counted))
	}
}

// verbose pads its records with white space to 20 KiB.
type verbose struct{ *counter }

func (v *verbose) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	d, err := v.counter.Decide(ctx, r)
	for k := range d.Records {
		d.Records[k] = append(d.Records[k], bytes.Repeat([]byte(" "), 20<<10)...)
	}
	return d, err
}

// taking is a decider that reads whatever it has recorded.
type taking struct{ deciderFunc }

func (taking) Replay([]byte) error { return nil }
func (taking) Mark()               {}
func (taking) Undo()               {}
func (taking) Keep()               {}

// TestAttackRecordTooLarge: a decider's record that no entry has room for denies
// its own request, and holds up no other of its batch.
func TestAttackRecordTooLarge(t *testing.T) {
	w := initialised(t)
	var huge string
	i := w.start(taking{func(r policy.Request) (policy.Decision, error) {
		d := policy.Decision{Verdict: policy.Approve, Records: [][]byte{[]byte("small")}}
		if r.ID.String() == huge {
			d.Records = [][]byte{make([]byte, 190<<10)}
		}
		return d, nil
	}}).ready()
	bad, good := w.task(), w.task()
	huge = bad.Request.String()
	verdicts := i.deliver(bad, good)
	if a, _ := w.open(verdicts[0].Reply); a.Decision != message.Reject || code(a) != policy.ReasonDecider {
		t.Errorf("%s because of %v", a.Decision, a.Reasons)
	}
	if a, _ := w.open(verdicts[1].Reply); a.Decision != message.Approve {
		t.Errorf("the other is %s because of %v", a.Decision, a.Reasons)
	}
}
