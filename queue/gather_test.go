package queue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

var epochA, epochB = message.EpochID{0xa}, message.EpochID{0xb}

func gatherer(poll time.Duration, epoch message.EpochID, senders ...string) queue.Gatherer {
	return queue.Gatherer{
		Consumer: queue.Consumer{Name: "signing", Poll: poll, Workers: 2},
		Senders:  senders,
		Epochs:   func() []message.EpochID { return []message.EpochID{epoch} },
	}
}

// finishing ends every gathered request after the commit, as signing does.
func finishing(q *queue.Queue) queue.GatherHandler {
	return func(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
		var results []queue.Result
		for _, g := range batch {
			results = append(results, queue.Result{Request: g.Request, Status: "done", Body: []byte("signed")})
		}
		return queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Hold}), After: func(ctx context.Context) error {
			_, err := q.Finish(ctx, nil, results)
			return err
		}}, nil
	}
}

// reply answers every open task of a role once.
func (f *fixture) reply(role string, r queue.Reply) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	answered := make(chan struct{}, 100)
	go func() {
		_ = f.silent(role).Consume(ctx, queue.Consumer{Name: role, Workers: 1, AfterCommit: func([]queue.Task, []queue.Verdict) { answered <- struct{}{} }},
			decide(func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &r}), nil
			}).handle)
	}()
	receive(f, answered)
}

// gather runs a gatherer that deals with what it reads.
func (f *fixture) gather(q *queue.Queue, g queue.Gatherer, h queue.GatherHandler) {
	f.gatherOffered(q, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		if batch[0].Offered { // as a whole
			return queue.Work{Verdicts: all(len(batch), queue.Verdict{Disposition: queue.Reread})}, nil
		}
		return h(ctx, batch)
	})
}

func (f *fixture) gatherOffered(q *queue.Queue, g queue.Gatherer, h queue.GatherHandler) {
	f.run(func() error { return q.Gather(f.ctx, g, h) })
}

// gathered runs a gatherer that passes on what it reads.
func (f *fixture) gathered(g queue.Gatherer, v queue.Verdict) <-chan queue.Gathered {
	out := make(chan queue.Gathered, 100)
	f.gather(f.queue("signing"), g, func(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
		for _, one := range batch {
			select {
			case out <- one:
			case <-f.ctx.Done():
			}
		}
		return queue.Work{Verdicts: all(len(batch), v)}, nil
	})
	return out
}

func TestGatherWaitsForEverySender(t *testing.T) {
	f := newFixture(t)
	got := f.gathered(gatherer(10*time.Millisecond, epochA, roles...), queue.Verdict{Disposition: queue.Done})
	s := f.submit(1)[0]
	f.reply("authorization", queue.Reply{Body: []byte("1"), Epochs: []message.EpochID{epochA, epochB}})
	f.reply("fraud", queue.Reply{Body: []byte("2"), Epochs: []message.EpochID{epochA}})
	if len(got) != 0 {
		t.Fatal("gathered without all senders")
	}
	f.reply("approval", queue.Reply{Body: []byte("3"), Attachment: []byte("shares"), Epochs: []message.EpochID{epochA}})
	g := receive(f, got)
	if g.Request != s.ID || string(g.Body) != string(s.Body) || g.Hash != s.Hash || g.Overdue || len(g.Replies) != 3 {
		t.Fatalf("gathered %+v", g)
	}
	last := g.Replies[2]
	if last.Sender != "approval" || string(last.Body) != "3" || string(last.Attachment) != "shares" || len(last.Epochs) != 1 || last.Created.IsZero() {
		t.Errorf("newest reply %+v", last)
	}
}

func TestGatherIgnoresOtherEpochsAndRepeatedSenders(t *testing.T) {
	f := newFixture(t)
	got := f.gathered(gatherer(10*time.Millisecond, epochA, "fraud", "approval"), queue.Verdict{Disposition: queue.Done})
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Body: []byte("1"), Epochs: []message.EpochID{epochA}})
	f.reply("approval", queue.Reply{Body: []byte("old epoch"), Epochs: []message.EpochID{epochB}})
	if err := f.silent("signing").AskAgain(f.ctx, s.ID, []string{"fraud"}); err != nil {
		t.Fatal(err)
	}
	f.reply("fraud", queue.Reply{Body: []byte("2"), Epochs: []message.EpochID{epochA}})
	if len(got) != 0 {
		t.Fatal("one sender's two replies counted as two senders'")
	}
	if err := f.silent("signing").AskAgain(f.ctx, s.ID, []string{"approval", "fraud"}); err != nil {
		t.Fatal(err)
	}
	f.reply("approval", queue.Reply{Body: []byte("3"), Epochs: []message.EpochID{epochA}})
	g := receive(f, got)
	var bodies string
	for _, r := range g.Replies {
		bodies += string(r.Body)
	}
	if bodies != "123" {
		t.Errorf("replies %q, want 123: those for the epoch, oldest first", bodies)
	}
}

func TestOneDecisiveReplyEnds(t *testing.T) {
	f := newFixture(t)
	got := f.gathered(gatherer(time.Hour, epochA, roles...), queue.Verdict{Disposition: queue.Done})
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Body: []byte("no"), Epochs: []message.EpochID{epochA}, Decisive: true})
	if g := receive(f, got); g.Request != s.ID || len(g.Replies) != 1 || !g.Replies[0].Decisive {
		t.Errorf("gathered %+v", g)
	}
}

func TestAwaitNeedsANewerReply(t *testing.T) {
	f := newFixture(t)
	got := f.gathered(gatherer(10*time.Millisecond, epochA, "fraud"), queue.Verdict{Disposition: queue.Await})
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Body: []byte("forged"), Epochs: []message.EpochID{epochA}, Decisive: true})
	receive(f, got)
	// Many polls later it has not come again: a request that comes later does.
	f.submit(1)
	f.reply("fraud", queue.Reply{Body: []byte("x"), Epochs: []message.EpochID{epochA}})
	if g := receive(f, got); g.Request == s.ID {
		t.Fatal("awaited request came again without a newer reply")
	}
	if err := f.silent("signing").AskAgain(f.ctx, s.ID, []string{"fraud"}); err != nil {
		t.Fatal(err)
	}
	f.reply("fraud", queue.Reply{Body: []byte("true"), Epochs: []message.EpochID{epochA}})
	if g := receive(f, got); g.Request != s.ID || len(g.Replies) != 2 {
		t.Errorf("gathered %+v", g)
	}
}

func TestOverdue(t *testing.T) {
	f := newFixture(t)
	s := submission()
	s.Expires = time.Now().Add(-time.Second)
	f.submitBatch([]queue.Submission{s})
	got := f.gathered(gatherer(10*time.Millisecond, epochA, roles...), queue.Verdict{Disposition: queue.Done})
	if g := receive(f, got); g.Request != s.ID || !g.Overdue || len(g.Replies) != 0 {
		t.Errorf("gathered %+v", g)
	}
}

// The lease of a gatherer that died after its intent ends, and another takes
// the request over; the same result is inserted once.
func TestAttackKillBetweenIntentAndResult(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	var deliveries atomic.Int32
	done := make(chan []uuid.UUID, 1)
	g := gatherer(10*time.Millisecond, epochA, "fraud")
	g.Lease = 2 * time.Second // one that ends while its owner lives makes a third delivery
	f.gather(signing, g, func(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
		id := batch[0].Request
		work := queue.Work{
			Verdicts: []queue.Verdict{{Disposition: queue.Hold}},
			Intents:  []queue.Intent{{Request: id, Instance: "i", Body: []byte("intent")}},
		}
		if deliveries.Add(1) == 1 { // dies: nothing happens after the intent
			return work, nil
		}
		work.After = func(ctx context.Context) error {
			inserted, err := signing.Finish(ctx, nil, []queue.Result{{Request: id, Status: "signed"}})
			done <- inserted
			return err
		}
		return work, nil
	})
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	if inserted := receive(f, done); len(inserted) != 1 || inserted[0] != s.ID {
		t.Errorf("inserted %v", inserted)
	}
	if n := f.count("SELECT count(*) FROM countersign.intent"); n != 2 {
		t.Errorf("%d intents, want one for each delivery", n)
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = 'signing'"); n != 0 {
		t.Errorf("%d signing tasks left", n)
	}
}

func TestErrorAfterTheVerdictsIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	attempts := make(chan int, 10)
	f.gather(signing, gatherer(10*time.Millisecond, epochA, "fraud"), func(_ context.Context, batch []queue.Gathered) (queue.Work, error) {
		attempts <- batch[0].Attempts
		return queue.Work{Verdicts: []queue.Verdict{{Disposition: queue.Hold}}, After: func(context.Context) error {
			if batch[0].Attempts < 2 {
				return errors.New("not yet")
			}
			_, err := signing.Finish(f.ctx, nil, []queue.Result{{Request: batch[0].Request, Status: "done"}})
			return err
		}}, nil
	})
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	for want := range 3 {
		if got := receive(f, attempts); got != want {
			t.Errorf("attempts %d, want %d", got, want)
		}
	}
	if _, err := f.queue("proposer").Await(f.ctx, s.ID); err != nil {
		t.Error(err)
	}
}

func TestTwoGatherersGiveOneResult(t *testing.T) {
	f := newFixture(t)
	const n = 60
	var handled atomic.Int32
	for range 2 {
		signing := f.queue("signing")
		inner := finishing(signing)
		g := gatherer(20*time.Millisecond, epochA, "fraud")
		g.Lease = time.Minute // longer than this test: both live
		f.gather(signing, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
			handled.Add(int32(len(batch)))
			return inner(ctx, batch)
		})
	}
	batch := f.submit(n)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud", Batch: 5}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Epochs: []message.EpochID{epochA}}}), nil
	})
	proposer := f.queue("proposer")
	for _, s := range batch {
		if _, err := proposer.Await(f.ctx, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := handled.Load(); got != n {
		t.Errorf("%d deliveries for %d requests", got, n)
	}
}

func TestFirstResultStands(t *testing.T) {
	f := newFixture(t)
	q := f.silent("signing")
	s := f.submit(1)[0]
	first, err := q.Finish(f.ctx, nil, []queue.Result{{Request: s.ID, Status: "signed", Body: []byte("first")}})
	if err != nil || len(first) != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	second, err := q.Finish(f.ctx, nil, []queue.Result{{Request: s.ID, Status: "rejected", Body: []byte("second")}})
	if err != nil || len(second) != 0 {
		t.Fatalf("a second result was inserted: %v, %v", second, err)
	}
	r, err := q.ResultOf(f.ctx, s.ID)
	if err != nil || r.Status != "signed" || string(r.Body) != "first" {
		t.Errorf("result %+v, %v", r, err)
	}
	if _, err := q.ResultOf(f.ctx, uuid.New()); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("missing result: %v", err)
	}
}

func TestStalledAndAskAgain(t *testing.T) {
	f := newFixture(t)
	signing := f.silent("signing")
	stalled := func(epoch message.EpochID) []queue.Stalled {
		t.Helper()
		out, err := signing.Stalled(f.ctx, roles, []message.EpochID{epoch}, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s := f.submit(1)[0]
	f.reply("authorization", queue.Reply{Epochs: []message.EpochID{epochA}})
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochB}})
	if got := stalled(epochA); len(got) != 0 {
		t.Fatalf("approval is at work, yet %v", got)
	}
	f.reply("approval", queue.Reply{Epochs: []message.EpochID{epochA}})
	got := stalled(epochA)
	if len(got) != 1 || got[0].Request != s.ID || len(got[0].Missing) != 1 || got[0].Missing[0] != "fraud" {
		t.Fatalf("stalled %v", got)
	}
	if young, err := signing.Stalled(f.ctx, roles, []message.EpochID{epochA}, time.Hour, 10); err != nil || len(young) != 0 {
		t.Errorf("young replies are stalled: %v, %v", young, err)
	}
	if err := signing.AskAgain(f.ctx, s.ID, got[0].Missing); err != nil {
		t.Fatal(err)
	}
	if again := stalled(epochA); len(again) != 0 {
		t.Errorf("asked again, yet %v", again)
	}
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	if after := stalled(epochA); len(after) != 0 {
		t.Errorf("all have replied, yet %v", after)
	}
}

// A task that another role's rejection made pointless is not delivered.
func TestEndedRequestsAreNotDelivered(t *testing.T) {
	f := newFixture(t)
	ended := f.submit(1)[0]
	if _, err := f.silent("signing").Finish(f.ctx, nil, []queue.Result{{Request: ended.ID, Status: "rejected"}}); err != nil {
		t.Fatal(err)
	}
	open := f.submit(1)[0]
	got := make(chan uuid.UUID, 2)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud"}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		for _, task := range tasks {
			got <- task.Request
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	if id := receive(f, got); id != open.ID {
		t.Error("a request with a result was delivered")
	}
	f.await(ended.ID, func(v queue.View) bool { return task(v, "fraud").Consumer == "" })
}
