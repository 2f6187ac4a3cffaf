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
}

func (c *cancelling) handle(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
	work := queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Hold})}
	var results []queue.Result
	for _, g := range batch {
		status := "signed"
		if g.Cancelled {
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

func (f *fixture) cancel(s queue.Submission) bool {
	f.Helper()
	marked, err := f.silent("proposer").Cancel(f.ctx, "signing", s.ID)
	if err != nil {
		f.Fatal(err)
	}
	return marked
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
		if !f.cancel(s) {
			t.Fatal("there was nothing to cancel")
		}
		f.wantStatus(s, "cancelled")
	})
	t.Run("not-heard", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		f.cancel(s)
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
				f.cancel(<-submitted)
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
	t.Run("again", func(t *testing.T) {
		f := newFixture(t)
		s := f.submit(1)[0]
		if !f.cancel(s) || f.cancel(s) {
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
		f.cancel(s)
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
		if f.cancel(s) {
			t.Error("cancelled what has ended")
		}
	})
}

// TestAttackForgedWants: whoever is logged in to the database can notify of
// requests that do not exist, as often as they like.
func TestAttackForgedWants(t *testing.T) {
	const bound = 110_000
	if n := queue.ForgedWants(2 * bound); n > bound {
		t.Errorf("%d requests that nobody made are kept in mind", n)
	}
}
