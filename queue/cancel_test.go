package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// cancelling ends what was cancelled, writes an intent for what was not, and
// tells of both.
type cancelling struct {
	f    *fixture
	q    *queue.Queue
	told chan queue.Gathered
	// before is called before the batch's intents are written.
	before func(queue.Gathered)
	// tooLate says that the work cannot be taken back.
	tooLate bool
}

func (c *cancelling) handle(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
	work := queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Hold})}
	var results []queue.Result
	for _, g := range batch {
		status := "signed"
		if g.Cancelled && !c.tooLate {
			status = "cancelled"
		} else {
			work.Intents = append(work.Intents, queue.Intent{Request: g.Request, Instance: "one", Body: []byte("intent")})
			if c.before != nil {
				c.before(g)
			}
		}
		results = append(results, queue.Result{Request: g.Request, Status: status, Body: []byte(status)})
		c.told <- g
	}
	work.After = func(ctx context.Context) error {
		_, err := c.q.Finish(ctx, nil, results)
		return err
	}
	return work, nil
}

func (f *fixture) cancelling() *cancelling {
	return &cancelling{f: f, q: f.queue("signing"), told: make(chan queue.Gathered, 100)}
}

// cancel cancels, and wants to be told whether that came too late.
func (f *fixture) cancel(s queue.Submission, tooLate bool) (marked bool) {
	f.Helper()
	c, err := f.silent("proposer").Cancel(f.ctx, "signing", s.ID)
	if err != nil || c.TooLate != tooLate {
		f.Fatalf("cancelling: %+v (%v), want too late %v", c, err, tooLate)
	}
	return c.Marked
}

func (f *fixture) wantStatus(s queue.Submission, want string) {
	f.Helper()
	r, err := f.queue("proposer").Await(f.ctx, s.ID)
	if err != nil || r.Status != want {
		f.Fatalf("ended as %q (%v), want %s", r.Status, err, want)
	}
}

func TestCancel(t *testing.T) {
	t.Run("before-any-reply", func(t *testing.T) {
		f := newFixture(t)
		c := f.cancelling()
		f.gather(c.q, gatherer(time.Hour, epochA, roles...), c.handle)
		s := f.submit(1)[0]
		if !f.cancel(s, false) {
			t.Fatal("there was nothing to cancel")
		}
		f.wantStatus(s, "cancelled")
	})
	t.Run("not-heard", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		f.cancel(s, false)
		c := f.cancelling()
		f.gather(c.q, gatherer(10*time.Millisecond, epochA, roles...), c.handle)
		f.wantStatus(s, "cancelled")
	})
	for name, after := range map[string]func(*fixture){
		"between-claim-and-intent": func(*fixture) {},
		"AttackVersionPutBack": func(f *fixture) {
			f.attack("UPDATE countersign.task SET version = 0 WHERE consumer = 'signing'")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c := f.cancelling()
			submitted := make(chan queue.Submission, 1)
			c.before = func(queue.Gathered) {
				c.before = nil
				f.cancel(<-submitted, false)
				after(f)
			}
			f.gather(c.q, gatherer(10*time.Millisecond, epochA, "fraud"), c.handle)
			s := f.submit(1)[0]
			submitted <- s
			f.reply("fraud", queue.Reply{Body: []byte("1"), Epochs: []message.EpochID{epochA}})
			f.wantStatus(s, "cancelled")
			if n := f.count("SELECT count(*) FROM countersign.intent"); n != 0 {
				t.Errorf("%d intents stand for a request that was cancelled", n)
			}
		})
	}
	t.Run("AttackCancelWhatCannotBeTakenBack", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		f.cancel(s, false)
		c := f.cancelling()
		c.tooLate = true
		f.gather(c.q, gatherer(10*time.Millisecond, epochA, "fraud"), c.handle)
		if g := receive(f, c.told); !g.Cancelled {
			t.Error("not told that the request was cancelled")
		}
		f.wantStatus(s, "signed")
		if n := len(c.told); n != 0 {
			t.Errorf("delivered %d times more: its intent was not written", n)
		}
	})
	t.Run("again", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		if !f.cancel(s, false) || f.cancel(s, false) {
			t.Error("what is cancelled was cancelled again")
		}
		if n := f.count("SELECT version FROM countersign.task WHERE consumer = 'signing'"); n != 1 {
			t.Errorf("the task's version is %d: who cancels again and again would hold up others", n)
		}
	})
	t.Run("after-the-intent", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		if _, err := f.db.Owner.Exec(`INSERT INTO countersign.intent (request_id, instance, body) VALUES ($1, 'gone', 'x')`, s.ID.String()); err != nil {
			t.Fatal(err)
		}
		f.cancel(s, true)
		c := f.cancelling()
		f.gather(c.q, gatherer(10*time.Millisecond, epochA, "fraud"), c.handle)
		if g := receive(f, c.told); g.Cancelled {
			t.Error("told that a request was cancelled whose intent stands")
		}
		f.wantStatus(s, "signed")
	})
	t.Run("after-the-end", func(t *testing.T) {
		f := newFixture(t)
		c := f.cancelling()
		f.gather(c.q, gatherer(10*time.Millisecond, epochA, "fraud"), c.handle)
		s := f.submit(1)[0]
		f.reply("fraud", queue.Reply{Body: []byte("1"), Epochs: []message.EpochID{epochA}})
		f.wantStatus(s, "signed")
		if f.cancel(s, true) {
			t.Error("cancelled what has ended")
		}
	})
}

// TestCancelBesideAnIntent: the mark waits for an intent that is being written,
// and is told of it although it began before.
func TestCancelBesideAnIntent(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	tx, err := f.db.Owner.BeginTx(f.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		`UPDATE countersign.task SET leased_until = now() + interval '1 minute' WHERE consumer = 'signing' AND request_id = $1`,
		`INSERT INTO countersign.intent (request_id, instance, body) VALUES ($1, 'one', 'x')`,
	} {
		if _, err := tx.ExecContext(f.ctx, statement, s.ID.String()); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		c   queue.Cancellation
		err error
	}
	q, done := f.silent("proposer"), make(chan answer, 1)
	go func() {
		c, err := q.Cancel(f.ctx, "signing", s.ID)
		done <- answer{c, err}
	}()
	const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	for deadline := time.Now().Add(10 * time.Second); f.count(waiting) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("cancelling does not wait for the intent")
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.err != nil || !a.c.TooLate {
		t.Fatalf("told %+v (%v) where the intent came first", a.c, a.err)
	}
}

// TestAttackForgedWants: whoever is logged in to the database can notify of
// requests that do not exist, as often as they like.
func TestAttackForgedWants(t *testing.T) {
	const bound = 110_000
	if n := queue.ForgedWants(2 * bound); n > bound {
		t.Errorf("%d requests that nobody made are kept in mind", n)
	}
}
