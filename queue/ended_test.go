package queue_test

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/queue"
)

const ender = "webhook:books"

// told runs a consumer that is told of ends, and returns what it gets; what has not
// ended it parks.
func (f *fixture) told(q *queue.Queue, got chan queue.Task) {
	f.consume(q, queue.Consumer{Name: ender, Ended: true, Poll: time.Hour}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		verdicts := make([]queue.Verdict, len(tasks))
		for i, task := range tasks {
			got <- task
			verdicts[i] = queue.Verdict{Disposition: queue.Park, Delay: time.Hour, Note: "tried"}
		}
		return verdicts, nil
	})
}

func (f *fixture) submitLater(n int) []queue.Submission {
	f.Helper()
	batch := make([]queue.Submission, n)
	for i := range batch {
		batch[i] = submission()
		batch[i].Later = []string{ender, ender, "webhook:other"}
	}
	f.submitBatch(batch)
	return batch
}

func (f *fixture) finish(list ...queue.Submission) {
	f.Helper()
	var results []queue.Result
	for _, s := range list {
		results = append(results, queue.Result{Request: s.ID, Status: "signed", Body: []byte("result")})
	}
	if _, err := f.silent("signing").Finish(f.ctx, nil, results); err != nil {
		f.Fatal(err)
	}
}

// An end makes the tasks about it ready, once; until then nobody gets them.
func TestEndedConsumer(t *testing.T) {
	f := newFixture(t)
	got := make(chan queue.Task, 100)
	f.told(f.queue("proposer"), got)
	list := f.submitLater(3)
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer LIKE 'webhook:%'"); n != 6 {
		t.Fatalf("%d tasks about ends, want 6", n)
	}
	select {
	case <-got:
		t.Fatal("a request was delivered before it has ended")
	case <-time.After(200 * time.Millisecond):
	}
	for _, ended := range [][]queue.Submission{list[:1], list[1:]} { // alone it is offered, with others named
		f.finish(ended...)
		for range ended {
			task := receive(f, got)
			if !task.Ended || task.Offered || string(task.Body) == "" {
				t.Errorf("delivered %+v", task)
			}
		}
	}
	f.until(3, "SELECT count(*) FROM countersign.task WHERE consumer = '"+ender+"' AND state = 1 AND note = 'tried'")
	// To be told again, by anybody, delivers nothing again: its delay stands.
	if _, err := f.db.As("fraud").Exec("SELECT pg_notify('countersign_result', '')"); err != nil {
		t.Fatal(err)
	}
	f.finish(list...)
	select {
	case <-got:
		t.Error("what was put off was delivered again")
	case <-time.After(200 * time.Millisecond):
	}
	ends, err := f.silent("proposer").Ends(f.ctx, []uuid.UUID{list[0].ID, uuid.Must(uuid.NewV7())})
	if err != nil || len(ends) != 1 || ends[list[0].ID].Result == nil || ends[list[0].ID].Owner != "alice" {
		t.Errorf("ends are %v, %v", ends, err)
	}
}

// A notification about a request that is open wakes nothing.
func TestAttackEndThatIsNone(t *testing.T) {
	f := newFixture(t)
	got := make(chan queue.Task, 100)
	q := f.queue("proposer")
	f.told(q, got)
	list := f.submitLater(2)
	f.finish(list[1])
	receive(f, got) // it listens
	id := list[0].ID
	if _, err := f.db.As("fraud").Exec("SELECT pg_notify('countersign_result', $1)", base64.RawURLEncoding.EncodeToString(id[:])); err != nil {
		t.Fatal(err)
	}
	select {
	case task := <-got:
		t.Errorf("delivered %+v", task)
	case <-time.After(300 * time.Millisecond):
	}
	f.finish(list[0])
	if task := receive(f, got); task.Request != id {
		t.Errorf("delivered %s", task.Request)
	}
}

// What nobody heard of is found at the start, else when it is due, and is not
// swept away.
func TestEndedUnheard(t *testing.T) {
	f := newFixture(t)
	list := f.submitLater(1)
	f.finish(list...)
	got := make(chan queue.Task, 100)
	f.told(f.silent("proposer"), got)
	if task := receive(f, got); task.Request != list[0].ID || !task.Ended {
		t.Errorf("delivered %+v", task)
	}
}

// A consumer of the usual kind never gets what has ended, nor a task that is not
// its own because somebody submits it for later.
func TestLaterIsNotOffered(t *testing.T) {
	f := newFixture(t)
	got := make(chan queue.Task, 100)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud"}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		for _, task := range tasks {
			got <- task
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	for range 5 {
		f.submitLater(1)
		if task := receive(f, got); task.Ended {
			t.Error("a new request has ended")
		}
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = '" + ender + "' AND leased_until = '-infinity'"); n != 5 {
		t.Errorf("%d tasks about ends are as they were made, want 5", n)
	}
}

func TestAbandon(t *testing.T) {
	f := newFixture(t)
	f.submitLater(2)
	q := f.silent("proposer")
	for _, want := range []int64{2, 0} {
		if n, err := q.Abandon(f.ctx, "webhook:", []string{ender}, "removed"); err != nil || n != want {
			t.Errorf("%d tasks, %v, want %d", n, err, want)
		}
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = 'webhook:other' AND state = 2 AND note = 'removed'"); n != 2 {
		t.Errorf("%d tasks are put aside", n)
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE state = 2"); n != 2 {
		t.Errorf("%d tasks of all are put aside", n)
	}
	if n, err := q.Abandon(f.ctx, "webhook:", []string{}, "removed"); err != nil || n != 2 {
		t.Errorf("without exceptions: %d tasks, %v", n, err)
	}
}
