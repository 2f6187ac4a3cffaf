package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// TestAttackVelocityRacedByReplicas: many batches at once on several replicas,
// exactly as many approvals leave as the limit allows, also where answers are
// lost and where the database refuses records.
func TestAttackVelocityRacedByReplicas(t *testing.T) {
	t.Run("all-settle", func(t *testing.T) { raceReplicas(t, nil, false) })
	t.Run("some-are-not-settled", func(t *testing.T) { raceReplicas(t, crash, false) })
	t.Run("some-records-are-refused", func(t *testing.T) { raceReplicas(t, nil, true) })
	t.Run("both", func(t *testing.T) { raceReplicas(t, crash, true) })
}

func raceReplicas(t *testing.T, fault func() error, refuses bool) {
	w := initialised(t)
	if refuses {
		w.attack("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN" +
			" RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$")
		w.attack("CREATE TRIGGER refuse BEFORE INSERT ON countersign.record FOR EACH ROW" +
			" WHEN (random() < 0.3) EXECUTE FUNCTION refuse()")
	}
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
				if b == 2 && fault != nil { // lost once, and delivered again
					_, _ = i.attempt(fault, part...)
				}
				verdicts, err := i.attempt(nil, part...)
				for refuses && err != nil {
					verdicts, err = i.attempt(nil, part...)
				}
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
	if len(approved) != limit {
		t.Fatalf("%d approvals, want %d", len(approved), limit)
	}
	fresh := newCounter(limit)
	w.start(fresh).ready()
	if len(fresh.counted) != limit {
		t.Fatalf("the chain counts %d approvals, want %d", len(fresh.counted), limit)
	}
}

// TestReplicaIsQuicker: what was decided without another replica's record is
// decided again.
func TestReplicaIsQuicker(t *testing.T) {
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
	if c.undone != 3 || len(c.counted) != limit {
		t.Fatalf("%d taken back, counts %d, want 3 and %d", c.undone, len(c.counted), limit)
	}
}

// TestVoteWhileItsRequestIsDecided: a vote that another replica records while
// the request is decided is not missed.
func TestVoteWhileItsRequestIsDecided(t *testing.T) {
	w := initialised(t)
	a := w.start(newCounter(1)).ready()
	task := w.task()
	vote, err := json.Marshal(task.Hash)
	must(t, err)
	b := w.start(&waiting{&intruding{counter: newCounter(1), first: func() { must(t, a.Append(t.Context(), vote)) }}}).ready()
	b.deliver(w.taskOf("secrets.rotate", "", "", struct{}{}, w.clock.Now().Add(time.Hour))) // the policy is on record
	if a, _ := b.one(task); a.Decision != message.Approve {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
}

// waiting waits for what is not counted, as if records were votes.
type waiting struct{ *intruding }

func (w *waiting) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	counted := w.counted[r.EnvelopeHash]
	if _, err := w.intruding.Decide(ctx, r); err != nil || !counted {
		return policy.Decision{Verdict: policy.Wait}, err
	}
	return policy.Decision{Verdict: policy.Approve}, nil
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

// TestAttackUnreadRecordsDeleted: a replica that has nothing to decide reads
// what the others append all the same, so that nobody can have it decide, much
// later, as if all that had not been.
func TestAttackUnreadRecordsDeleted(t *testing.T) {
	w := initialised(t)
	const limit = 5
	busy, idle := w.start(newCounter(limit)).ready(), w.start(newCounter(limit)).ready()
	if n := approvals(busy.deliver(w.tasks(limit)...)); n != limit {
		t.Fatalf("%d approvals, want %d", n, limit)
	}
	w.until("the idle replica has not read on", func() error {
		if n, _ := idle.Records(); n < int64(w.rows()) {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	w.attack("DELETE FROM countersign.record WHERE seq > 1")
	w.denied(idle)
	w.denied(busy)
}
