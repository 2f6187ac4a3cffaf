package queue_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/queue"
)

// Replicas that claim at the same moment share the tasks: each task has one
// owner, and nothing is worked on twice.
func TestConcurrentClaimsShareTheTasks(t *testing.T) {
	f := newFixture(t)
	const n = 200
	f.submit(n)
	var mu sync.Mutex
	handled := map[uuid.UUID]int{}
	done := make(chan struct{}, n)
	for range 4 {
		f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Batch: 3, Workers: 2, Poll: 10 * time.Millisecond, Lease: time.Minute},
			func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				mu.Lock()
				defer mu.Unlock()
				for _, task := range tasks {
					handled[task.Request]++
					done <- struct{}{}
				}
				return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
			})
	}
	for range n {
		receive(f, done)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, k := range handled {
		if k != 1 {
			t.Errorf("request %s was worked on %d times", id, k)
		}
	}
}

// While a batch is worked on nothing is open and nothing is locked; the lease
// alone keeps others away.
func TestWorkHoldsNoLock(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	entered, checked := make(chan struct{}, 2), make(chan struct{})
	c := queue.Consumer{Name: "fraud", Poll: 5 * time.Millisecond}
	handler := func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		entered <- struct{}{}
		<-checked
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	}
	f.consume(f.queue("fraud"), c, handler)
	f.consume(f.queue("fraud"), c, handler)
	receive(f, entered)
	tx, err := f.db.Owner.BeginTx(f.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(f.ctx, "SELECT 1 FROM countersign.task WHERE consumer = 'fraud' AND request_id = $1 FOR UPDATE NOWAIT", s.ID); err != nil {
		t.Errorf("the task is locked: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := f.count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'countersign_fraud' AND state LIKE 'idle in transaction%'"); n != 0 {
		t.Errorf("%d transactions are open", n)
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = 'fraud' AND leased_until BETWEEN now() + interval '1 second' AND now() + interval '6 seconds'"); n != 1 {
		t.Error("the task is not leased for 5 s")
	}
	if len(entered) != 0 {
		t.Error("two replicas work on one task")
	}
	close(checked)
}

// The commit of a claim does not wait for the disk; that of what is made of it
// does.
func TestOnlyTheClaimIsNotDurable(t *testing.T) {
	f := newFixture(t)
	f.submit(1)
	db := f.db.Open("fraud")
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(f.ctx, "SET synchronous_commit = on"); err != nil {
		t.Fatal(err)
	}
	setting := make(chan string, 1)
	q := queue.New(db, f.db.Config("fraud"), nil)
	f.consume(q, queue.Consumer{Name: "fraud", Workers: 1}, func(ctx context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		var now string
		err := db.QueryRowContext(ctx, "SHOW synchronous_commit").Scan(&now)
		setting <- now
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), err
	})
	if got := receive(f, setting); got != "on" {
		t.Errorf("after the claim synchronous_commit is %s", got)
	}
}

// A service that stops finishes what it began, and begins nothing new.
func TestStopFinishesTheBatch(t *testing.T) {
	f := newFixture(t)
	f.submit(3)
	ctx, stop := context.WithCancel(f.ctx)
	defer stop()
	var batches atomic.Int32
	ended := make(chan error, 1)
	go func() {
		ended <- f.silent("fraud").Consume(ctx, queue.Consumer{Name: "fraud", Batch: 2, Workers: 1},
			decide(func(ctx context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				batches.Add(1)
				stop()
				return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("x")}}), ctx.Err()
			}).handle)
	}()
	if err := receive(f, ended); err != nil {
		t.Fatal(err)
	}
	if n := f.count("SELECT count(*) FROM countersign.reply"); n != 2 || batches.Load() != 1 {
		t.Errorf("%d replies of %d batches, want the 2 of the one that was begun", n, batches.Load())
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = 'fraud' AND leased_until < now()"); n != 1 {
		t.Errorf("%d tasks are free, want the one that was not begun", n)
	}
}

// signalWriter signals each line of a log.
type signalWriter chan struct{}

func (w signalWriter) Write(line []byte) (int, error) {
	w <- struct{}{}
	return len(line), nil
}

// TestAttackLateSettlement: a replica that was away for longer than its lease,
// while another ended one of its tasks, writes nothing of its batch: no second
// output, and nothing of the task that the other has parked.
func TestAttackLateSettlement(t *testing.T) {
	f := newFixture(t)
	batch := f.submit(2)
	entered, resume := make(chan struct{}), make(chan struct{})
	late := make(chan int, 10)
	var calls atomic.Int32
	warned := make(signalWriter, 10)
	slow := queue.New(f.db.Open("fraud"), f.db.Config("fraud"), slog.New(slog.NewTextHandler(warned, &slog.HandlerOptions{Level: slog.LevelWarn})))
	slow.HoldOffers(offerHold)
	f.consume(slow, queue.Consumer{Name: "fraud", Workers: 1, Poll: time.Hour, Lease: 50 * time.Millisecond},
		func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
			if calls.Add(1) == 1 {
				close(entered)
				<-resume
			}
			late <- len(tasks)
			return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("late")}}), nil
		})
	receive(f, entered)
	settled := make(chan struct{}, 10)
	f.consume(f.silent("fraud"), queue.Consumer{
		Name: "fraud", Workers: 1, Poll: 20 * time.Millisecond,
		AfterCommit: func([]queue.Task, []queue.Verdict) { settled <- struct{}{} },
	}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		verdicts := all(len(tasks), queue.Verdict{Disposition: queue.Park, Note: "by the other"})
		for i, task := range tasks {
			if task.Request == batch[0].ID {
				verdicts[i] = queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("first")}}
			}
		}
		return verdicts, nil
	})
	receive(f, settled)
	close(resume)
	if n := receive(f, late); n != 2 {
		t.Fatalf("the late batch has %d tasks", n)
	}
	receive(f, warned) // that the lease was lost
	if n := f.count("SELECT count(*) FROM countersign.reply WHERE convert_from(body, 'UTF8') = 'late'"); n != 0 {
		t.Errorf("%d late replies were written", n)
	}
	v, err := f.silent("proposer").Get(f.ctx, batch[1].ID)
	if err != nil || task(v, "fraud") != (queue.TaskView{Consumer: "fraud", State: "parked", Note: "by the other"}) {
		t.Errorf("task %+v, %v", task(v, "fraud"), err)
	}
}
