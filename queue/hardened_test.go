package queue_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

func (f *fixture) attack(query string, args ...any) {
	f.Helper()
	if _, err := f.db.Owner.ExecContext(f.ctx, query, args...); err != nil {
		f.Fatalf("the attack itself failed: %v", err)
	}
}

// TestAttackFewerAttemptsThanNone: a number of attempts below zero, which somebody
// wrote, ends no process where the delivery fails.
func TestAttackFewerAttemptsThanNone(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	f.attack("UPDATE countersign.task SET attempts = -2 WHERE consumer = 'signing'")
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	signing := f.queue("signing")
	finish := finishing(signing)
	f.gather(signing, gatherer(10*time.Millisecond, epochA, "fraud"), func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		if batch[0].Attempts < 0 {
			return queue.Work{}, errors.New("not yet")
		}
		return finish(ctx, batch)
	})
	f.wantStatus(s, "done")
}

// TestAttackTimesThatAreNone: a row whose time is no time (infinity is one for
// PostgreSQL, and none for the driver) hides no other row.
func TestAttackTimesThatAreNone(t *testing.T) {
	for _, sign := range []string{"", "-"} {
		t.Run(sign+"infinity", func(t *testing.T) { timesThatAreNone(newFixture(t), sign+"infinity") })
	}
}

func timesThatAreNone(f *fixture, instant string) {
	batch := f.submit(2)
	f.attack("UPDATE countersign.request SET submitted_at = $1, expires_at = $1 WHERE id = $2", instant, batch[0].ID)
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	f.attack("UPDATE countersign.reply SET created_at = $1 WHERE request_id = $2", instant, batch[0].ID)
	signing := f.queue("signing")
	f.gather(signing, gatherer(10*time.Millisecond, epochA, "fraud"), finishing(signing))
	proposer := f.silent("proposer")
	for _, s := range batch {
		if _, err := proposer.Await(f.ctx, s.ID); err != nil {
			f.Fatal(err)
		}
	}
	f.attack("UPDATE countersign.result SET created_at = $1 WHERE request_id = $2", instant, batch[0].ID)
	for _, s := range batch {
		if _, err := proposer.Await(f.ctx, s.ID); err != nil {
			f.Error(err)
		}
	}
	if list, err := proposer.List(f.ctx, queue.Filter{}); err != nil || len(list) != 2 {
		f.Errorf("%d requests, %v", len(list), err)
	}
	for _, key := range []string{"a", "b"} {
		if err := signing.Publish(f.ctx, queue.Notice{Topic: queue.TopicHello, Key: key, Sender: "signing"}); err != nil {
			f.Fatal(err)
		}
	}
	f.attack("UPDATE countersign.notice SET created_at = $1 WHERE key = 'a'", instant)
	if list, err := signing.Notices(f.ctx, queue.TopicHello); err != nil || len(list) != 2 {
		f.Errorf("%d notices, %v", len(list), err)
	}
}

// TestAttackLeaseWithoutEnd: a lease that ends later than any may, because
// somebody wrote it or the database's clock was set back, is none.
func TestAttackLeaseWithoutEnd(t *testing.T) {
	for _, until := range []string{"infinity", "1 hour"} {
		t.Run(until, func(t *testing.T) {
			f := newFixture(t)
			f.submit(3)
			value := "now() + interval '1 hour'"
			if until == "infinity" {
				value = "'infinity'"
			}
			f.attack("UPDATE countersign.task SET leased_until = " + value)
			f.attack("UPDATE countersign.task SET attempts = 1 WHERE (request_id, consumer) IN (SELECT request_id, consumer FROM countersign.task WHERE consumer = 'fraud' LIMIT 1)")
			f.consume(f.queue("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Epochs: []message.EpochID{epochA}}}), nil
			})
			f.until(0, fraudTasks)
			signing := f.queue("signing")
			f.gather(signing, gatherer(10*time.Millisecond, epochA, "fraud"), finishing(signing))
			f.until(3, "SELECT count(*) FROM countersign.result")
		})
	}
}

// TestClockOfTheDatabaseSetBack: what was ready before the clock was set back by
// an hour does not wait for the hour to come again.
func TestClockOfTheDatabaseSetBack(t *testing.T) {
	f := newFixture(t)
	f.submit(2)
	f.attack("UPDATE countersign.task SET available_at = now() + interval '1 hour'")
	f.consume(f.queue("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Epochs: []message.EpochID{epochA}}}), nil
	})
	f.until(0, fraudTasks)
	signing := f.queue("signing")
	f.gather(signing, gatherer(10*time.Millisecond, epochA, "fraud"), finishing(signing))
	f.until(2, "SELECT count(*) FROM countersign.result")
}

// TestOutagesAreNoAttempts: no request is given up because the database could
// not be reached, in whichever way.
func TestOutagesAreNoAttempts(t *testing.T) {
	dialer := net.Dialer{Timeout: time.Nanosecond}
	_, timeout := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	handshake := tls.Client(near, &tls.Config{ServerName: "x"}).HandshakeContext(expired)
	for name, failure := range map[string]error{
		"dial timeout":      fmt.Errorf("connecting to the database: %w", timeout),
		"handshake timeout": fmt.Errorf("%w: %w", database.ErrTLS, handshake),
		"context ended":     context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.submit(1)
			var calls atomic.Int32
			c := impatient()
			c.MaxAttempts = 1
			began := time.Now()
			f.consume(f.queue("fraud"), c, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				if calls.Add(1) <= 3 {
					return nil, failure
				}
				return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
			})
			f.until(0, fraudTasks+" AND state < 2")
			if n := f.count(fraudTasks); n != 0 {
				t.Error("the task is dead")
			}
			if took := time.Since(began); took < 3*100*time.Millisecond {
				t.Errorf("tried four times in %v, without a pause", took)
			}
		})
	}
}

// TestSweepLeavesWhatIsWorkedOn: a request that ends while a batch is decided
// does not cost the others of the batch their decision.
func TestSweepLeavesWhatIsWorkedOn(t *testing.T) {
	f := newFixture(t)
	batch := f.submit(2)
	entered, resume := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	c := queue.Consumer{Name: "fraud", Workers: 1, Poll: time.Hour}
	f.consume(f.queue("fraud"), c, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		if calls.Add(1) == 1 {
			close(entered)
			<-resume
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	receive(f, entered)
	f.attack("INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'x', '')", batch[0].ID)
	sweep, err := os.ReadFile("queries/sweep.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.db.As("fraud").ExecContext(f.ctx, string(sweep), "fraud"); err != nil { // another replica's
		t.Fatal(err)
	}
	close(resume)
	f.until(0, fraudTasks)
	if n := calls.Load(); n != 1 {
		t.Errorf("the batch was delivered %d times", n)
	}
}

// TestReplyWhileItsRequestIsGathered: a reply that comes while the gatherer
// works on the one before is not left to polling.
func TestReplyWhileItsRequestIsGathered(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	heard := signing.Changed(queue.TopicAnnouncement)
	var calls atomic.Int32
	gathered, again := make(chan struct{}, 10), make(chan struct{})
	g := gatherer(time.Hour, epochA, "fraud", "approval")
	g.Workers = 1
	replyAgain := func(id uuid.UUID) error {
		if err := signing.AskAgain(f.ctx, id, []string{"fraud"}); err != nil {
			return err
		}
		f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
		// What is notified later is heard later.
		for len(heard) > 0 {
			<-heard
		}
		err := f.silent("fraud").Publish(f.ctx, queue.Notice{Topic: queue.TopicAnnouncement, Key: "k", Sender: "fraud"})
		<-heard
		return err
	}
	f.gather(signing, g, func(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
		var err error
		switch n := calls.Add(1); {
		case n <= untilHeard:
			gathered <- struct{}{}
			return queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Done})}, nil
		case n == untilHeard+1:
			err = replyAgain(batch[0].Request)
		case n == untilHeard+2:
			close(again)
		}
		return queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Await})}, err
	})
	for range untilHeard {
		f.answered()
		receive(f, gathered)
	}
	f.answered()
	receive(f, again)
}

// untilHeard is how many requests one after the other are gathered when the last
// was surely heard of: the looks at the start, and at each of three subscriptions,
// bring four at most.
const untilHeard = 5

// answered submits a request to which two roles have replied.
func (f *fixture) answered() {
	f.Helper()
	f.submit(1)
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	f.reply("approval", queue.Reply{Epochs: []message.EpochID{epochA}})
}

// TestFloodDoesNotStarveWhatFailed: however many new tasks there are, one that
// has failed before has its turn.
func TestFloodDoesNotStarveWhatFailed(t *testing.T) {
	f := newFixture(t)
	failed := f.submit(1)[0].ID
	f.attack("UPDATE countersign.task SET attempts = 1, leased_until = '-infinity'")
	f.submit(100)
	order := make(chan uuid.UUID, 200)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Workers: 1, Batch: 1}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		order <- tasks[0].Request
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	var got []uuid.UUID
	for range 10 {
		got = append(got, receive(f, order))
	}
	if !slices.Contains(got, failed) {
		t.Error("what has failed before waits for all others")
	}
}

// TestAttackLateFailure: a replica that was away for longer than its lease, and
// fails then, takes nothing from the one that has the task by now.
func TestAttackLateFailure(t *testing.T) {
	f := newFixture(t)
	f.submit(1)
	entered, resume, third := make(chan struct{}), make(chan struct{}), make(chan struct{})
	late := impatient()
	late.MaxAttempts = 2
	ctx, stop := context.WithCancel(f.ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- f.silent("fraud").Consume(ctx, late, func(context.Context, []queue.Task) (queue.Work, error) {
			close(entered)
			<-resume
			stop()
			return queue.Work{}, errors.New("late")
		})
	}()
	receive(f, entered)
	var calls atomic.Int32
	other := queue.Consumer{Name: "fraud", Workers: 1, Poll: 20 * time.Millisecond, MaxAttempts: 10}
	f.consume(f.silent("fraud"), other, func(context.Context, []queue.Task) ([]queue.Verdict, error) {
		if calls.Add(1) == 3 {
			close(third)
		}
		return nil, errors.New("early")
	})
	receive(f, third)
	close(resume)
	if err := receive(f, ended); err != nil {
		t.Error(err)
	}
	if n := f.count(fraudTasks + " AND state = 2"); n != 0 {
		t.Error("dead by a failure of a delivery that was over")
	}
}

// skewed returns services' queues on a database whose clock differs.
func (f *fixture) skewed(by string, services ...string) (out []*queue.Queue) {
	f.Helper()
	f.attack("CREATE SCHEMA clock")
	for _, name := range []string{"now", "clock_timestamp"} {
		f.attack(fmt.Sprintf("CREATE FUNCTION clock.%[1]s() RETURNS timestamptz STABLE LANGUAGE sql"+
			" AS $$ SELECT pg_catalog.%[1]s() + interval '%[2]s' $$", name, by))
	}
	f.attack("GRANT USAGE ON SCHEMA clock TO PUBLIC")
	for _, service := range services {
		db := f.db.Open(service)
		db.SetMaxOpenConns(1)
		if _, err := db.ExecContext(f.ctx, "SET search_path = clock, pg_catalog"); err != nil {
			f.Fatal(err)
		}
		out = append(out, queue.New(db, f.db.Config(service), nil))
	}
	return out
}

// TestClockOfTheDatabaseWrong: hellos and announcements, which live for minutes,
// are read while they live also where the database's clock is wrong by an hour.
func TestClockOfTheDatabaseWrong(t *testing.T) {
	for _, by := range []string{"1 hour", "-1 hour"} {
		t.Run(by, func(t *testing.T) {
			f := newFixture(t)
			signing := f.skewed(by, "signing")[0]
			for key, life := range map[string]time.Duration{"live": 10 * time.Minute, "over": -time.Second} {
				n := queue.Notice{Topic: queue.TopicHello, Key: key, Sender: "signing", Expires: time.Now().Add(life)}
				if err := signing.Publish(f.ctx, n); err != nil {
					t.Fatal(err)
				}
			}
			got, err := signing.Notices(f.ctx, queue.TopicHello)
			if err != nil || len(got) != 1 || got[0].Key != "live" {
				t.Errorf("notices %+v, %v", got, err)
			}
		})
	}
}

// TestExpiryWhereTheDatabaseIsWrong: a request is overdue when its time is over,
// whatever the database's clock says.
func TestExpiryWhereTheDatabaseIsWrong(t *testing.T) {
	for _, by := range []string{"1 hour", "-1 hour"} {
		t.Run(by, func(t *testing.T) {
			f := newFixture(t)
			both := f.skewed(by, "proposer", "signing")
			live, over := submission(), submission()
			live.Expires, over.Expires = time.Now().Add(10*time.Minute), time.Now().Add(-time.Second)
			if _, err := both[0].Submit(f.ctx, []queue.Submission{live, over}, recipients); err != nil {
				t.Fatal(err)
			}
			f.attack("UPDATE countersign.task SET available_at = '-infinity'") // defaults have the true clock
			f.gather(both[1], gatherer(10*time.Millisecond, epochA, "fraud"), finishing(both[1]))
			f.until(1, "SELECT count(*) FROM countersign.result WHERE request_id = $1", over.ID)
			if n := f.count("SELECT count(*) FROM countersign.result"); n != 1 {
				t.Error("what was to live for minutes has ended")
			}
		})
	}
}
