package queue_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// again is a pool whose connections break at one statement after the server has
// done it, as many times as they are told. The driver says ErrBadConn, and the
// pool sends the statement again without telling anybody.
type again struct {
	*fixture
	inner  *sql.DB
	marker string // stands in the statement's text
	breaks atomic.Int32
	broken atomic.Int32
}

// Connect implements driver.Connector.
func (a *again) Connect(ctx context.Context) (driver.Conn, error) {
	held, err := a.inner.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &brokenConn{again: a, held: held}
	return c, held.Raw(func(raw any) error {
		c.Conn = raw.(driver.Conn)
		return nil
	})
}

// Driver implements driver.Connector.
func (a *again) Driver() driver.Driver { return a.inner.Driver() }

func (a *again) breaksNow(text string) error {
	if strings.Contains(text, a.marker) && a.breaks.Add(-1) >= 0 {
		a.broken.Add(1)
		return driver.ErrBadConn
	}
	return nil
}

type brokenConn struct {
	driver.Conn
	again *again
	held  *sql.Conn
}

func (c *brokenConn) Close() error { return c.held.Close() }

func (c *brokenConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return &brokenStmt{s, c, text}, nil
}

func (c *brokenConn) CheckNamedValue(v *driver.NamedValue) error {
	return c.Conn.(driver.NamedValueChecker).CheckNamedValue(v)
}

type brokenStmt struct {
	driver.Stmt
	conn *brokenConn
	text string
}

func (s *brokenStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	r, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if broken := s.conn.again.breaksNow(s.text); broken != nil {
		return nil, broken
	}
	return r, err
}

func (s *brokenStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if broken := s.conn.again.breaksNow(s.text); broken != nil {
		if err == nil {
			_ = rows.Close() // reads to the end: the server has done it
		}
		return nil, broken
	}
	return rows, err
}

// resending returns a service's queue whose statement with the marker is done
// times+1 times when it is first run.
func (f *fixture) resending(service, marker string, times int) (*queue.Queue, *again) {
	a := &again{fixture: f, inner: f.db.Open(service), marker: marker}
	a.breaks.Store(int32(times))
	db := sql.OpenDB(a)
	f.Cleanup(func() { _ = db.Close() })
	log := slog.New(slog.NewTextHandler(f.Output(), nil))
	return queue.New(db, f.db.Config(service), log), a
}

// TestStatementDoneAgain: whichever statement is done twice or three times,
// because the connection broke before its answer came, what comes of it is the
// same as if it had been done once.
func TestStatementDoneAgain(t *testing.T) {
	for name, test := range map[string]struct {
		marker string // how its text begins
		run    func(f *fixture, resending func(service string) *queue.Queue)
	}{
		"submit":          {"-- New requests", submittedAgain},
		"claim":           {"-- A batch of tasks", repliesOnce(queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{}})},
		"settle":          {"-- The end of a batch all of", repliesOnce(queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{}})},
		"settle_offered":  {"FROM unnest($9::uuid[], $10::bytea[]) AS o", offeredAgain(nil)},
		"settle_based":    {"h.seq >= $9", basedAgain},
		"settle_both":     {"FROM unnest($11::uuid[], $12::bytea[]) AS o", offeredAgain(&queue.Basis{Seq: 1, MAC: message.Sum(nil)})},
		"intents_offered": {"-- Intents, each", offeredIntentAgain},
		"settle_silently": {"-- Tasks that are done go", doneAgain},
		"keep":            {"-- The end of a batch of which", parkedAgain(nil)},
		"settle_mixed":    {"-- Like keep.sql", parkedAgain(&queue.Reply{})},
		"fail":            {"-- Deliveries that failed", failedAgain},
		"release":         {"-- The lease of tasks that nothing", releasedAgain},
		"gather":          {"-- Of the given requests", gatheredAgain},
		"intents":         {"-- Intents, each", gatheredAgain},
		"finish":          {"-- Results, the first", gatheredAgain},
		"publish":         {"-- A notice that lives", publishedAgain},
		"unpark":          {"-- A task is made ready", unparkedAgain},
		"ask_again":       {"-- New tasks", askedAgain},
	} {
		for times := 1; times <= 2; times++ {
			t.Run(fmt.Sprintf("%s/%d times", name, times+1), func(t *testing.T) {
				f := newFixture(t)
				var a *again
				test.run(f, func(service string) *queue.Queue {
					var q *queue.Queue
					q, a = f.resending(service, test.marker, times)
					return q
				})
				for int(a.broken.Load()) != times { // or this shows nothing
					if f.ctx.Err() != nil {
						t.Fatalf("the statement broke %d times, want %d", a.broken.Load(), times)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
	}
}

func submittedAgain(f *fixture, resending func(string) *queue.Queue) {
	batch := []queue.Submission{submission(), submission()}
	outcomes, err := resending("proposer").Submit(f.ctx, batch, recipients)
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range outcomes { // the first time stands
		if o != queue.Repeated {
			f.Errorf("outcome %d", o)
		}
	}
	if r, n := f.count("SELECT count(*) FROM countersign.request"), f.count("SELECT count(*) FROM countersign.task"); r != 2 || n != 2*tasksEach {
		f.Errorf("%d requests and %d tasks", r, n)
	}
}

// impatient is a consumer that soon looks again.
func impatient() queue.Consumer {
	return queue.Consumer{Name: "fraud", Workers: 1, Poll: 20 * time.Millisecond, Lease: 100 * time.Millisecond}
}

// until waits for a count to be reached.
func (f *fixture) until(want int, query string, args ...any) {
	f.Helper()
	for f.count(query, args...) != want {
		if f.ctx.Err() != nil {
			f.Fatalf("%s: never %d", query, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

const fraudTasks = "SELECT count(*) FROM countersign.task WHERE consumer = 'fraud'"

func repliesOnce(v queue.Verdict) func(*fixture, func(string) *queue.Queue) {
	return func(f *fixture, resending func(string) *queue.Queue) {
		f.submit(3)
		f.consume(resending("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
			return all(len(tasks), v), nil
		})
		f.until(0, fraudTasks)
		if n := f.count("SELECT count(*) FROM countersign.reply"); n != 3 {
			f.Errorf("%d replies, want 3", n)
		}
	}
}

// offeredAgain settles what was heard of, on a basis or without: each request has
// one reply.
func offeredAgain(basis *queue.Basis) func(*fixture, func(string) *queue.Queue) {
	return func(f *fixture, resending func(string) *queue.Queue) {
		f.record(1, message.Sum(nil))
		q := resending("fraud")
		f.run(func() error { return q.Run(f.ctx) })
		f.run(func() error {
			return q.Consume(f.ctx, impatient(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
				w := done(tasks)
				w.Basis = basis
				return w, nil
			})
		})
		f.listening(1, "fraud")
		for range 3 {
			f.submit(1)
		}
		f.until(0, fraudTasks)
		if n := f.count("SELECT count(*) FROM countersign.reply"); n != 3 {
			f.Errorf("%d replies, want 3", n)
		}
	}
}

func basedAgain(f *fixture, resending func(string) *queue.Queue) {
	f.record(1, message.Sum(nil))
	f.submit(3)
	q := resending("fraud")
	f.run(func() error {
		return q.Consume(f.ctx, impatient(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			w := done(tasks)
			w.Basis = &queue.Basis{Seq: 1, MAC: message.Sum(nil)}
			return w, nil
		})
	})
	f.until(0, fraudTasks)
	if n := f.count("SELECT count(*) FROM countersign.reply"); n != 3 {
		f.Errorf("%d replies, want 3", n)
	}
}

// offeredIntentAgain: the second time the task is leased, by nobody else. The
// request ends when that lease is over.
func offeredIntentAgain(f *fixture, resending func(string) *queue.Queue) {
	signing := resending("signing")
	f.run(func() error { return signing.Run(f.ctx) })
	took := make(chan queue.Gathered, 100)
	f.assembled(signing, took)
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) { return done(tasks), nil })
	f.listening(1, "fraud")
	f.listening(1, "signing")
	f.submit(1)
	f.until(1, "SELECT count(*) FROM countersign.result")
	f.until(0, "SELECT count(*) FROM countersign.task WHERE consumer = 'signing'")
	if n := f.count("SELECT count(*) FROM countersign.audit_entry WHERE kind = 'result'"); n != 1 {
		f.Errorf("%d results in the audit log", n)
	}
}

func doneAgain(f *fixture, resending func(string) *queue.Queue) {
	f.submit(3)
	f.consume(resending("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	f.until(0, fraudTasks)
}

// parkedAgain parks one task and ends the other, with a reply or without.
func parkedAgain(reply *queue.Reply) func(*fixture, func(string) *queue.Queue) {
	return func(f *fixture, resending func(string) *queue.Queue) {
		batch := f.submit(2)
		f.consume(resending("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
			out := all(len(tasks), queue.Verdict{Disposition: queue.Park, Note: "aside"})
			for i, task := range tasks {
				if task.Request == batch[0].ID {
					out[i] = queue.Verdict{Disposition: queue.Done, Reply: reply}
				}
			}
			return out, nil
		})
		f.until(1, fraudTasks+" AND state = 1 AND note = 'aside' AND attempts = 0 AND leased_until <= now()")
		f.until(1, fraudTasks)
		want := 0
		if reply != nil {
			want = 1
		}
		if n := f.count("SELECT count(*) FROM countersign.reply"); n != want {
			f.Errorf("%d replies, want %d", n, want)
		}
	}
}

// failedAgain: one failure is one attempt.
func failedAgain(f *fixture, resending func(string) *queue.Queue) {
	f.submit(1)
	var seen []int
	done := make(chan struct{})
	c := impatient()
	c.MaxAttempts = 2
	f.consume(resending("fraud"), c, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		if seen = append(seen, tasks[0].Attempts); len(seen) == 1 {
			return nil, errors.New("not this time")
		}
		close(done)
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	f.until(0, fraudTasks+" AND state < 2")
	if n := f.count(fraudTasks + " AND state = 2"); n != 0 {
		f.Fatal("dead after one failure of two")
	}
	receive(f, done)
	if fmt.Sprint(seen) != "[0 1]" {
		f.Errorf("attempts %v", seen)
	}
}

func releasedAgain(f *fixture, resending func(string) *queue.Queue) {
	f.submit(2)
	var calls atomic.Int32
	f.consume(resending("fraud"), impatient(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		if calls.Add(1) == 1 {
			return nil, driver.ErrBadConn
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	f.until(0, fraudTasks)
}

// gatheredAgain: each request has one result, with one entry in the audit log.
func gatheredAgain(f *fixture, resending func(string) *queue.Queue) {
	f.submit(2)
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	signing := resending("signing")
	g := gatherer(10*time.Millisecond, epochA, "fraud")
	g.Lease = 100 * time.Millisecond
	finish := finishing(signing)
	f.gather(signing, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		w, err := finish(ctx, batch)
		for _, one := range batch {
			w.Intents = append(w.Intents, queue.Intent{Request: one.Request, Instance: "i", Body: []byte("intent")})
		}
		return w, err
	})
	f.until(2, "SELECT count(*) FROM countersign.result")
	f.until(0, "SELECT count(*) FROM countersign.task WHERE consumer = 'signing'")
	if n := f.count("SELECT count(*) FROM countersign.audit_entry WHERE kind = 'result'"); n != 2 {
		f.Errorf("%d results in the audit log", n)
	}
	if n := f.count(`SELECT count(*) FROM countersign.intent i WHERE NOT EXISTS
		(SELECT FROM countersign.audit_entry a WHERE a.kind = 'intent' AND a.request_id = i.request_id)`); n != 0 {
		f.Errorf("%d intents are not in the audit log", n)
	}
}

func publishedAgain(f *fixture, resending func(string) *queue.Queue) {
	n := queue.Notice{Topic: queue.TopicAnnouncement, Key: "k", Sender: "fraud", Body: []byte("x"), Expires: time.Now().Add(time.Hour)}
	if err := resending("fraud").Publish(f.ctx, n); err != nil {
		f.Error(err)
	}
}

func unparkedAgain(f *fixture, resending func(string) *queue.Queue) {
	s := f.submit(1)[0]
	if _, err := f.db.Owner.Exec("UPDATE countersign.task SET state = 1, available_at = 'infinity'"); err != nil {
		f.Fatal(err)
	}
	if err := resending("fraud").Unpark(f.ctx, "fraud", s.ID); err != nil {
		f.Error(err)
	}
	if n := f.count(fraudTasks + " AND state = 0 AND available_at <= now() AND version > 0"); n != 1 {
		f.Error("the task is not ready")
	}
}

func askedAgain(f *fixture, resending func(string) *queue.Queue) {
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{})
	if err := resending("signing").AskAgain(f.ctx, s.ID, []string{"fraud"}); err != nil {
		f.Error(err)
	}
	if n := f.count(fraudTasks); n != 1 {
		f.Errorf("%d tasks", n)
	}
}
