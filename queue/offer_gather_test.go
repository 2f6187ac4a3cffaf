package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// assembled is a gatherer of one sender with a handler that intends what it is
// offered, and ends what it has read.
func (f *fixture) assembled(q *queue.Queue, took chan<- queue.Gathered) {
	finish := finishing(q)
	g := gatherer(100*time.Millisecond, epochA, "fraud")
	g.Workers, g.Lease = 1, 200*time.Millisecond
	f.gatherOffered(q, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		w, err := finish(ctx, batch)
		for _, one := range batch {
			took <- one
			w.Intents = append(w.Intents, queue.Intent{Request: one.Request, Instance: "i", Body: one.Body})
		}
		return w, err
	})
}

// TestOfferedRequestIsGathered: request and reply of a lone request are not read
// back, and its task is leased by the intent.
func TestOfferedRequestIsGathered(t *testing.T) {
	f := newFixture(t)
	took := make(chan queue.Gathered, 10)
	f.assembled(f.queue("signing"), took)
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) { return done(tasks), nil })
	f.listening(1, "fraud")
	f.listening(1, "signing")
	proposer := f.queue("proposer")
	for range 20 { // the first may come before all listen
		s := f.submit(1)[0]
		g := receive(f, took)
		if g.Request != s.ID || string(g.Body) != string(s.Body) || len(g.Replies) != 1 || string(g.Replies[0].Body) != string(s.Body) || g.Replies[0].Sender != "fraud" {
			t.Fatalf("gathered %+v", g)
		}
		if r, err := proposer.Await(f.ctx, s.ID); err != nil || r.Status != "done" || string(r.Body) != "signed" {
			t.Fatalf("result %+v, %v", r, err)
		}
		if g.Offered {
			return
		}
	}
	t.Error("nothing was gathered from what was heard")
}

// TestAttackForgedGathering: a request and its replies that were only notified,
// or with other bytes than the row's, get no intent and no result.
func TestAttackForgedGathering(t *testing.T) {
	f := newFixture(t)
	took := make(chan queue.Gathered, 100)
	f.assembled(f.queue("signing"), took)
	f.listening(1, "signing")
	large := submission()
	large.Body = []byte(strings.Repeat("x", 7900))
	large.Hash = message.Sum(large.Body)
	f.submitBatch([]queue.Submission{large})
	for i := 0; len(took) == 0; i++ { // until it listens to both channels
		if i > 1000 {
			t.Fatal("never heard")
		}
		for _, id := range []uuid.UUID{large.ID, uuid.New()} {
			f.notify(taskChannel, offerOf(id, "made up"))
			f.notify(replyChannel, replyOf(id, "fraud", "made up"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if g := receive(f, took); !g.Offered || string(g.Body) != "made up" {
		t.Fatalf("gathered %+v", g)
	}
	f.reply("fraud", queue.Reply{Body: []byte("true"), Epochs: []message.EpochID{epochA}})
	f.until(1, "SELECT count(*) FROM countersign.result WHERE request_id = $1", large.ID)
	if n := f.count("SELECT count(*) FROM countersign.intent WHERE body = 'made up'"); n != 0 {
		t.Errorf("%d intents for what nobody submitted", n)
	}
	if n := f.count("SELECT count(*) FROM countersign.result"); n != 1 {
		t.Errorf("%d results", n)
	}
}

// TestAttackOfferedEnd: nothing but an intent comes of what was only heard: a
// handler that ends it otherwise is refused, and gets it as it is read.
func TestAttackOfferedEnd(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	var offered, read atomic.Int32
	finish := finishing(signing)
	g := gatherer(time.Hour, epochA, "fraud")
	f.gatherOffered(signing, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		for _, one := range batch {
			if one.Offered {
				offered.Add(1)
			} else {
				read.Add(1)
			}
		}
		return finish(ctx, batch)
	})
	f.listening(1, "signing")
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) { return done(tasks), nil })
	f.listening(1, "fraud")
	proposer := f.queue("proposer")
	for n := int32(1); offered.Load() == 0; n++ {
		if n > 20 {
			t.Fatal("nothing was offered")
		}
		if _, err := proposer.Await(f.ctx, f.submit(1)[0].ID); err != nil {
			t.Fatal(err)
		}
		if read.Load() != n {
			t.Errorf("%d of %d ended as they were read", read.Load(), n)
		}
	}
}

// TestTwoGatherersHearTheSame: two instances that hear all of it leave one
// intent and one result of each request.
func TestTwoGatherersHearTheSame(t *testing.T) {
	f := newFixture(t)
	const n = 30
	took := make(chan queue.Gathered, 1000)
	for range 2 {
		f.assembled(f.queue("signing"), took)
	}
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) { return done(tasks), nil })
	f.listening(1, "fraud")
	proposer := f.queue("proposer")
	for range n {
		if _, err := proposer.Await(f.ctx, f.submit(1)[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.count("SELECT count(*) FROM countersign.intent"); got != n {
		t.Errorf("%d intents for %d requests", got, n)
	}
	if got := f.count("SELECT count(*) FROM countersign.audit_entry WHERE kind = 'result'"); got != n {
		t.Errorf("%d results for %d requests", got, n)
	}
}

// TestOnlyTheStandingResultIsTold: a result that comes second is not given to who
// waits, as it was not inserted.
func TestOnlyTheStandingResultIsTold(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	proposer, signing := f.queue("proposer"), f.silent("signing")
	// The first result stands, and nobody was told of it.
	f.attack("INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'first', 'first')", s.ID)
	got := make(chan queue.Result, 1)
	f.run(func() error {
		r, err := proposer.Await(f.ctx, s.ID)
		got <- r
		return err
	})
	for len(got) == 0 && f.ctx.Err() == nil {
		if _, err := signing.Finish(f.ctx, nil, []queue.Result{{Request: s.ID, Status: "second", Body: []byte("second")}}); err != nil {
			t.Fatal(err)
		}
	}
	if r := receive(f, got); r.Status != "first" {
		t.Errorf("waited for the first result and got the %s", r.Status)
	}
}

// TestAttackForgedResult: a result that somebody notifies goes to who waits, who
// verifies it; the one that stands is another.
func TestAttackForgedResult(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	proposer := f.queue("proposer")
	got := make(chan queue.Result, 1)
	f.run(func() error {
		r, err := proposer.Await(f.ctx, s.ID)
		got <- r
		return err
	})
	for len(got) == 0 && f.ctx.Err() == nil {
		f.notify("countersign_result", text(s.ID[:])+"."+text([]byte("signed"))+"."+text([]byte("forged")))
	}
	receive(f, got)
	if r, err := proposer.ResultOf(f.ctx, s.ID); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("result %+v, %v", r, err)
	}
}
