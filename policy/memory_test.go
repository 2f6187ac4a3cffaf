package policy_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/queue"
)

// crash makes the transaction fail where the commit would be.
func crash(*sql.Tx) error { return errCrash }

// counter is a decider with state: it approves up to limit different
// envelopes, each counted once.
type counter struct {
	limit   int
	counted map[message.Hash]bool
	resets  int
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
	c.counted[h] = true
	return nil
}

func (c *counter) Reset() {
	c.resets++
	clear(c.counted)
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

// TestAttackVelocityRacedByReplicas: many batches at once on several replicas,
// exactly as many approvals leave as the limit allows. Where transactions fail
// fewer may: what a failed one had approved counts, since whoever made it fail
// may hold those approvals.
func TestAttackVelocityRacedByReplicas(t *testing.T) {
	t.Run("all-commit", func(t *testing.T) { raceReplicas(t, false) })
	t.Run("some-fail", func(t *testing.T) { raceReplicas(t, true) })
}

func raceReplicas(t *testing.T, fails bool) {
	w := initialised(t)
	const limit, replicas, batches, size = 20, 3, 6, 5
	var mu sync.Mutex
	approved := map[string]bool{}
	var wg sync.WaitGroup
	for range replicas {
		i := w.start(newCounter(limit)).ready()
		tasks := w.tasks(batches * size)
		wg.Go(func() {
			for b := range batches {
				part := tasks[b*size : (b+1)*size]
				if fails && b == 2 { // fails once, and is delivered again
					if _, err := i.attempt(crash, part...); !errors.Is(err, errCrash) {
						t.Errorf("crash: %v", err)
					}
				}
				verdicts, err := i.attempt(nil, part...)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for k, v := range verdicts {
					if !v.Reply.Decisive {
						approved[part[k].Request.String()] = true
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(approved) > limit || len(approved) == 0 || !fails && len(approved) != limit {
		t.Fatalf("%d approvals, want %d, or fewer where commits failed", len(approved), limit)
	}
	fresh := newCounter(limit)
	w.start(fresh).ready()
	if len(fresh.counted) < len(approved) || !fails && len(fresh.counted) != limit {
		t.Fatalf("the chain counts %d of %d approvals", len(fresh.counted), len(approved))
	}
}

// TestAttackVelocityForgottenByRollback: an approval that was signed counts,
// although its transaction failed and its record's row with it.
func TestAttackVelocityForgottenByRollback(t *testing.T) {
	w := initialised(t)
	c := newCounter(1)
	i := w.start(c).ready()
	first := w.task()
	if _, err := i.attempt(crash, first); !errors.Is(err, errCrash) {
		t.Fatalf("crash: %v", err)
	}
	if a, _ := i.one(w.task()); a.Decision != message.Reject {
		t.Fatal("the limit was forgotten")
	}
	if a, _ := i.one(first); a.Decision != message.Approve {
		t.Fatalf("the counted request itself: %v", a.Reasons)
	}
	other := newCounter(1)
	replica := w.start(other).ready()
	if a, _ := replica.one(w.task()); a.Decision != message.Reject || !other.counted[first.Hash] {
		t.Fatal("the record was not appended again")
	}
	if c.resets > 0 {
		t.Fatal("a failed commit replayed the whole chain")
	}
}

// TestCommitOfUnknownOutcome: the connection breaks in the commit, which
// happened all the same.
func TestCommitOfUnknownOutcome(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(5)).ready()
	task := w.task()
	if _, err := i.attempt(func(tx *sql.Tx) error { return errors.Join(tx.Commit(), errCrash) }, task); !errors.Is(err, errCrash) {
		t.Fatalf("crash: %v", err)
	}
	before := w.rows()
	if a, _ := i.one(task); a.Decision != message.Approve {
		t.Fatalf("again: %v", a.Reasons)
	}
	if n := w.rows(); n != before+1 {
		t.Fatalf("%d rows after %d", n, before)
	}
	must(t, i.Ready(t.Context()))
	must(t, i.Audit(t.Context()))
}

// TestFirstRecordsRaceAnotherReplica: a decider that was not known to make
// records decides again when another replica was quicker.
func TestFirstRecordsRaceAnotherReplica(t *testing.T) {
	w := initialised(t)
	const limit = 5
	a := w.start(newCounter(limit)).ready()
	c := newCounter(limit)
	raced := false
	b := w.start(&intruding{counter: c, first: func() {
		raced = true
		if n := approvals(a.deliver(w.tasks(limit)...)); n != limit {
			t.Errorf("%d approvals, want %d", n, limit)
		}
	}}).ready()
	if n := approvals(b.deliver(w.tasks(3)...)); n != 0 || !raced {
		t.Fatalf("%d approvals above the limit", n)
	}
	if c.resets == 0 {
		t.Fatal("decisions that were not made were kept")
	}
	if len(c.counted) != limit {
		t.Fatalf("counts %d, want %d", len(c.counted), limit)
	}
}

// intruding lets something happen between reading the chain and deciding.
type intruding struct {
	*counter
	once  sync.Once
	first func()
}

func (i *intruding) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	i.once.Do(i.first)
	return i.counter.Decide(ctx, r)
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
	tx, err := w.As(role).BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	if _, err := i.handler(ctx, tx, w.tasks(1)); !errors.Is(err, context.Canceled) {
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

// TestLockOnlyWhereSomethingIsAppended looks at the locks of a batch's
// transaction before it commits.
func TestLockOnlyWhereSomethingIsAppended(t *testing.T) {
	cases := map[string]struct {
		decider policy.Decider
		locks   int
	}{
		"stateless": {always(policy.Approve), 0},
		"recording": {newCounter(100), 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := initialised(t)
			i := w.start(tc.decider).ready()
			i.deliver(w.task()) // the first under a policy is recorded
			_, err := i.attempt(func(tx *sql.Tx) error {
				var n int
				err := tx.QueryRow("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()").Scan(&n)
				if n != tc.locks {
					t.Errorf("%d locks, want %d", n, tc.locks)
				}
				return err
			}, w.task())
			must(t, err)
		})
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
