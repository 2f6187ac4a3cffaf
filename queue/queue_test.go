package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// roles are the consumers of every request, beside the gatherer.
var roles = []string{message.RoleAuthorization, message.RoleFraud, message.RoleApproval}

var recipients = queue.Recipients{Consumers: roles, Gatherer: message.RoleSigning}

// tasksEach is how many tasks a request has.
var tasksEach = len(roles) + 1

// patience ends a test that hangs; nothing waits for it otherwise.
const patience = 60 * time.Second

// fixture is a database with queues of several services, each listening.
type fixture struct {
	*testing.T
	db  *databasetest.DB
	ctx context.Context
	wg  sync.WaitGroup
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f := &fixture{T: t, db: databasetest.New(t), ctx: ctx}
	t.Cleanup(func() { cancel(); f.wg.Wait() })
	return f
}

// silent returns a queue that hears no notifications.
func (f *fixture) silent(service string) *queue.Queue {
	q := queue.New(f.db.As(service), f.db.Config(service), slog.New(slog.DiscardHandler))
	q.HoldOffers(offerHold)
	return q
}

// offerHold is five times what it is otherwise.
const offerHold = 250 * time.Millisecond

// queue returns a queue that listens.
func (f *fixture) queue(service string) *queue.Queue {
	q := queue.New(f.db.Open(service), f.db.Config(service), slog.New(slog.NewTextHandler(f.Output(), nil)))
	q.HoldOffers(offerHold)
	f.run(func() error { return q.Run(f.ctx) })
	return q
}

func (f *fixture) run(work func() error) {
	f.wg.Go(func() {
		if err := work(); err != nil {
			f.Errorf("%v", err)
		}
	})
}

// consume runs a consumer until the test ends.
func (f *fixture) consume(q *queue.Queue, c queue.Consumer, h decide) {
	f.run(func() error { return q.Consume(f.ctx, c, h.handle) })
}

// decide is a handler that needs no more than verdicts.
type decide func(ctx context.Context, tasks []queue.Task) ([]queue.Verdict, error)

func (d decide) handle(ctx context.Context, tasks []queue.Task) (queue.Work, error) {
	verdicts, err := d(ctx, tasks)
	return queue.Work{Verdicts: verdicts}, err
}

func submission() queue.Submission {
	id := uuid.Must(uuid.NewV7())
	body := []byte("envelope of " + id.String())
	return queue.Submission{
		ID: id, Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(append(body, '!')),
		Owner: "alice", Kind: "test.kind", Wallet: "w", Expires: time.Now().Add(time.Hour),
	}
}

// submit puts n new requests on the queue.
func (f *fixture) submit(n int) []queue.Submission {
	f.Helper()
	batch := make([]queue.Submission, n)
	for i := range batch {
		batch[i] = submission()
	}
	f.submitBatch(batch)
	return batch
}

func (f *fixture) submitBatch(batch []queue.Submission) {
	f.Helper()
	outcomes, err := f.silent("proposer").Submit(f.ctx, batch, recipients)
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range outcomes {
		if o != queue.Accepted {
			f.Fatalf("outcome %d, want accepted", o)
		}
	}
}

func receive[T any](f *fixture, c <-chan T) T {
	f.Helper()
	select {
	case v := <-c:
		return v
	case <-f.ctx.Done():
		f.Fatal("nothing arrived")
		panic("unreachable")
	}
}

// all returns the same verdict for every task.
func all(n int, v queue.Verdict) []queue.Verdict {
	out := make([]queue.Verdict, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func (f *fixture) count(query string, args ...any) (n int) {
	f.Helper()
	if err := f.db.Owner.QueryRow(query, args...).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

func TestSubmit(t *testing.T) {
	f := newFixture(t)
	q := f.silent("proposer")
	first, second := submission(), submission()
	otherOwner, otherBytes := first, first
	otherOwner.Owner = "mallory"
	otherBytes.Fingerprint = message.Sum([]byte("other"))
	for _, c := range []struct {
		name  string
		batch []queue.Submission
		want  []queue.Outcome
	}{
		{"new", []queue.Submission{first}, []queue.Outcome{queue.Accepted}},
		{"repeated", []queue.Submission{first}, []queue.Outcome{queue.Repeated}},
		{"conflict/other-owner", []queue.Submission{otherOwner}, []queue.Outcome{queue.Conflict}},
		{"conflict/other-bytes", []queue.Submission{otherBytes}, []queue.Outcome{queue.Conflict}},
		{
			"twice-in-a-batch",
			[]queue.Submission{second, first, second, otherBytes},
			[]queue.Outcome{queue.Accepted, queue.Repeated, queue.Repeated, queue.Conflict},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := q.Submit(f.ctx, c.batch, recipients)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("outcomes %v, want %v", got, c.want)
			}
		})
	}
	if n := f.count("SELECT count(*) FROM countersign.request"); n != 2 {
		t.Errorf("%d requests stored, want 2", n)
	}
	if n := f.count("SELECT count(*) FROM countersign.task"); n != 2*tasksEach {
		t.Errorf("%d tasks stored, want %d", n, 2*tasksEach)
	}
	view, err := q.Get(f.ctx, first.ID)
	if err != nil || view.Owner != "alice" || string(view.Body) != string(first.Body) {
		t.Errorf("the first submission does not stand: %v, %v", view.Owner, err)
	}
}

func TestConsumeDeliversAndReplies(t *testing.T) {
	f := newFixture(t)
	q := f.queue("fraud")
	got := make(chan queue.Task, 100)
	f.consume(q, queue.Consumer{Name: "fraud", Batch: 7, Workers: 3, Poll: time.Hour}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		for _, task := range tasks {
			got <- task
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{
			Body: []byte("approval"), Attachment: []byte("shares"),
			Epochs: []message.EpochID{{1}, {2}}, Decisive: true,
		}}), nil
	})
	sent := map[uuid.UUID]queue.Submission{}
	for _, s := range f.submit(50) {
		sent[s.ID] = s
	}
	for range 50 {
		task := receive(f, got)
		s, ok := sent[task.Request]
		if !ok {
			t.Fatalf("request %s was delivered twice or never sent", task.Request)
		}
		if string(task.Body) != string(s.Body) || task.Hash != s.Hash || task.Attempts != 0 || !task.Offered && task.Expires.Sub(s.Expires).Abs() > time.Second {
			t.Errorf("task %s differs from what was submitted", task.Request)
		}
		delete(sent, task.Request)
	}
}

// A replica that dies while it works leaves its tasks leased: they are delivered
// to another when the lease is over, and only one output stands.
func TestAttackKillMeansRedeliveryNotLoss(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	entered := make(chan struct{})
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	dying := f.db.Open("fraud")
	go func() {
		_ = queue.New(dying, f.db.Config("fraud"), nil).Consume(ctx, queue.Consumer{Name: "fraud", Lease: 100 * time.Millisecond},
			decide(func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				_ = dying.Close()
				close(entered)
				return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("lost")}}), nil
			}).handle)
	}()
	receive(f, entered)
	got := make(chan queue.Task, 1)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Poll: 20 * time.Millisecond}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		got <- tasks[0]
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	if task := receive(f, got); task.Request != s.ID || task.Attempts != 0 {
		t.Errorf("redelivered %+v", task)
	}
	if n := f.count("SELECT count(*) FROM countersign.reply"); n != 0 {
		t.Fatalf("%d replies of a dead handler", n)
	}
}

func TestReplicasNeverBothDeliver(t *testing.T) {
	f := newFixture(t)
	const n = 300
	f.submit(n)
	var mu sync.Mutex
	times := map[uuid.UUID]int{}
	done := make(chan struct{})
	handler := func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("x")}}), nil
	}
	committed := func(tasks []queue.Task, _ []queue.Verdict) {
		mu.Lock()
		defer mu.Unlock()
		for _, task := range tasks {
			times[task.Request]++
		}
		if len(times) == n {
			close(done)
		}
	}
	for range 3 {
		f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Batch: 8, Workers: 3, Poll: 50 * time.Millisecond, AfterCommit: committed}, handler)
	}
	receive(f, done)
	mu.Lock()
	defer mu.Unlock()
	for id, k := range times {
		if k != 1 {
			t.Errorf("request %s was delivered %d times", id, k)
		}
	}
	if got := f.count("SELECT count(*) FROM countersign.reply"); got != n {
		t.Errorf("%d replies, want %d", got, n)
	}
}

func TestDeadLetter(t *testing.T) {
	f := newFixture(t)
	batch := f.submit(5)
	poison := batch[2].ID
	boom := errors.New("cannot decode this one")
	good := make(chan uuid.UUID, 10)
	var mu sync.Mutex
	var attempts []int
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", MaxAttempts: 3, Workers: 1}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		for _, task := range tasks {
			if task.Request == poison {
				mu.Lock()
				attempts = append(attempts, task.Attempts)
				mu.Unlock()
				return nil, boom
			}
		}
		for _, task := range tasks {
			good <- task.Request
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	for range 4 {
		if id := receive(f, good); id == poison {
			t.Fatal("the poison was delivered as good")
		}
	}
	view := f.await(poison, func(v queue.View) bool { return task(v, "fraud").State == "dead" })
	if note := task(view, "fraud").Note; note != "gave up after 3 attempts: cannot decode this one" {
		t.Errorf("note %q", note)
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(attempts) != "[0 1 2]" {
		t.Errorf("attempts seen %v", attempts)
	}
}

func TestPanicIsAFailedDelivery(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", MaxAttempts: 1}, func(context.Context, []queue.Task) ([]queue.Verdict, error) {
		panic("a secret")
	})
	view := f.await(s.ID, func(v queue.View) bool { return task(v, "fraud").State == "dead" })
	if note := task(view, "fraud").Note; note != "gave up after 1 attempts: handler panicked" {
		t.Errorf("note %q tells more than it may", note)
	}
}

// task returns a consumer's task of a view.
func task(v queue.View, consumer string) queue.TaskView {
	for _, task := range v.Tasks {
		if task.Consumer == consumer {
			return task
		}
	}
	return queue.TaskView{}
}

// await reads a request until it is as wanted. What it waits for is written
// by others' transactions, which signal nobody.
func (f *fixture) await(id uuid.UUID, ok func(queue.View) bool) queue.View {
	f.Helper()
	q := f.silent("proposer")
	for {
		v, err := q.Get(f.ctx, id)
		if err != nil {
			f.Fatal(err)
		}
		if ok(v) {
			return v
		}
	}
}

func TestWrongVerdictsChangeNothing(t *testing.T) {
	for name, verdicts := range map[string][]queue.Verdict{
		"zero-disposition": {{}},
		"too-many":         {{Disposition: queue.Done}, {Disposition: queue.Done}},
		"none":             {},
		"await":            {{Disposition: queue.Await}},
		"negative-delay":   {{Disposition: queue.Retry, Delay: -1}},
		"other-sender":     {{Disposition: queue.Done, Reply: &queue.Reply{Sender: "approval"}}},
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			f := newFixture(t)
			s := f.submit(1)[0]
			f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", MaxAttempts: 2}, func(context.Context, []queue.Task) ([]queue.Verdict, error) {
				return verdicts, nil
			})
			f.await(s.ID, func(v queue.View) bool { return task(v, "fraud").State == "dead" })
			if n := f.count("SELECT count(*) FROM countersign.reply"); n != 0 {
				t.Errorf("%d replies were written", n)
			}
		})
	}
}

func TestParkAndUnpark(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	q := f.queue("approval")
	delivered := make(chan int, 10)
	parked := make(chan struct{}, 10)
	var mu sync.Mutex
	n := 0
	f.consume(q, queue.Consumer{Name: "approval", Poll: 20 * time.Millisecond, AfterCommit: func([]queue.Task, []queue.Verdict) { parked <- struct{}{} }},
		func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
			mu.Lock()
			defer mu.Unlock()
			n++
			delivered <- n
			if n == 1 {
				return []queue.Verdict{{Disposition: queue.Park, Note: "waiting for 1 of 1 votes"}}, nil
			}
			return []queue.Verdict{{Disposition: queue.Done}}, nil
		})
	receive(f, delivered)
	receive(f, parked)
	view, err := f.silent("proposer").Get(f.ctx, s.ID)
	if err != nil || task(view, "approval") != (queue.TaskView{Consumer: "approval", State: "parked", Note: "waiting for 1 of 1 votes"}) {
		t.Fatalf("task %+v, %v", task(view, "approval"), err)
	}
	select {
	case <-delivered:
		t.Fatal("a parked task was delivered")
	default:
	}
	if err := q.Unpark(f.ctx, "approval", s.ID); err != nil {
		t.Fatal(err)
	}
	if got := receive(f, delivered); got != 2 {
		t.Errorf("delivery %d", got)
	}
}

// A vote that arrives while its request is being worked on must not be missed,
// and waits for nobody.
func TestUnparkWhileDeciding(t *testing.T) {
	for _, disposition := range []queue.Disposition{queue.Park, queue.Retry} {
		t.Run(fmt.Sprint(disposition), func(t *testing.T) {
			f := newFixture(t)
			s := f.submit(1)[0]
			q := f.queue("approval")
			entered, voted := make(chan struct{}), make(chan struct{})
			again := make(chan struct{}, 1)
			first := true
			f.consume(q, queue.Consumer{Name: "approval", Workers: 1, Poll: time.Hour}, func(context.Context, []queue.Task) ([]queue.Verdict, error) {
				if !first {
					again <- struct{}{}
					return []queue.Verdict{{Disposition: queue.Done}}, nil
				}
				first = false
				close(entered)
				<-voted
				return []queue.Verdict{{Disposition: disposition, Delay: time.Hour}}, nil
			})
			receive(f, entered)
			if err := q.Unpark(f.ctx, "approval", s.ID); err != nil {
				t.Fatal(err)
			}
			close(voted)
			receive(f, again)
		})
	}
}

func TestParkAndRetryWithDelay(t *testing.T) {
	for _, disposition := range []queue.Disposition{queue.Park, queue.Retry} {
		t.Run(fmt.Sprint(disposition), func(t *testing.T) {
			f := newFixture(t)
			f.submit(1)
			delivered := make(chan queue.Task, 3)
			f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Poll: time.Hour, Workers: 1}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				delivered <- tasks[0]
				if len(delivered) == 1 {
					return []queue.Verdict{{Disposition: disposition, Delay: 50 * time.Millisecond}}, nil
				}
				return []queue.Verdict{{Disposition: queue.Done}}, nil
			})
			f.awaitLen(delivered, 2)
			receive(f, delivered)
			if second := receive(f, delivered); second.Attempts != 0 {
				t.Errorf("a delay counted as a failure: %d", second.Attempts)
			}
		})
	}
}

func (f *fixture) awaitLen(c chan queue.Task, n int) {
	for len(c) < n && f.ctx.Err() == nil {
		f.count("SELECT 1") // yields to the consumer
	}
}

// Whatever the listener misses is found by polling: here there is none.
func TestLostNotifications(t *testing.T) {
	f := newFixture(t)
	role, signing, proposer := f.silent("fraud"), f.silent("signing"), f.silent("proposer")
	epoch := message.EpochID{9}
	f.consume(role, queue.Consumer{Name: "fraud", Poll: 20 * time.Millisecond}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Epochs: []message.EpochID{epoch}}}), nil
	})
	f.run(func() error {
		return signing.Gather(f.ctx, gatherer(20*time.Millisecond, epoch, "fraud"), finishing(signing))
	})
	s := f.submit(1)[0]
	r, err := proposer.Await(f.ctx, s.ID)
	if err != nil || r.Status != "done" {
		t.Fatalf("result %+v, %v", r, err)
	}
}
