package queue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// notifications are what a listener of its own hears on the queue's channels.
type notifications struct {
	f        *fixture
	listener *pq.Listener
}

func (f *fixture) notifications() *notifications {
	f.Helper()
	listener, err := database.NewListener(f.db.Config("operator"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = listener.Close() })
	for _, channel := range []string{"task", "reply", "result", "notice"} {
		if err := listener.Listen("countersign_" + channel); err != nil {
			f.Fatal(err)
		}
	}
	return &notifications{f, listener}
}

// since returns what was notified so far and not returned before, as
// "channel payload": a last notification, which is of the test, ends it, because
// they arrive in the order of commits.
func (n *notifications) since() (heard []string) {
	n.f.Helper()
	end := uuid.NewString()
	n.f.notify("countersign_notice", end)
	for {
		got := receive(n.f, n.listener.Notify)
		switch {
		case got == nil: // the connection began
		case got.Extra == end:
			return heard
		default:
			heard = append(heard, got.Channel+" "+got.Extra)
		}
	}
}

// want fails unless there was one notification, on the channel, about n requests.
func (n *notifications) want(channel string, requests []queue.Submission) {
	n.f.Helper()
	heard := n.since()
	if len(heard) != 1 || !strings.HasPrefix(heard[0], "countersign_"+channel+" ") {
		n.f.Fatalf("%d notifications, want one on %s: %.100q", len(heard), channel, heard[:min(3, len(heard))])
	}
	for _, s := range requests {
		if !strings.Contains(heard[0], text(s.ID[:])) {
			n.f.Errorf("the notification on %s does not tell of %s", channel, s.ID)
		}
	}
}

// settled has one worker settle tasks as one batch.
func (f *fixture) settled(role string, size int, decide func(i int) queue.Verdict) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	committed := make(chan struct{}, 1)
	consumer := queue.Consumer{
		Name: role, Workers: 1, Batch: size, Poll: 10 * time.Millisecond,
		AfterCommit: func([]queue.Task, []queue.Verdict) { committed <- struct{}{} },
	}
	ended := make(chan error, 1)
	go func() {
		ended <- f.silent(role).Consume(ctx, consumer, func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			if len(tasks) != size {
				f.Errorf("claimed %d tasks, want %d", len(tasks), size)
			}
			work := queue.Work{}
			for i := range tasks {
				work.Verdicts = append(work.Verdicts, decide(i))
			}
			return work, nil
		})
	}()
	receive(f, committed)
	cancel()
	if err := receive(f, ended); err != nil {
		f.Error(err)
	}
}

// A commit notifies once, whatever the size of its batch: each notification
// wakes every listener, and all that commit with one take turns at a lock of the
// whole server.
func TestOneNotificationPerCommit(t *testing.T) {
	const size = 64
	answer := queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("yes"), Epochs: []message.EpochID{epochA}}}
	f := newFixture(t)
	n := f.notifications()
	batch := f.submit(size)
	n.want("task", batch)
	// What is held for those who heard the offer, all can claim at once.
	if _, err := f.db.Owner.Exec("UPDATE countersign.task SET leased_until = '-infinity'"); err != nil {
		t.Fatal(err)
	}

	f.settled("fraud", size, func(int) queue.Verdict { return answer })
	n.want("reply", batch)

	f.settled("approval", size, func(i int) queue.Verdict {
		if i%2 == 0 {
			return answer
		}
		return queue.Verdict{Disposition: queue.Park, Reply: answer.Reply}
	})
	n.want("reply", batch)

	f.settled("authorization", size, func(int) queue.Verdict { return queue.Verdict{Disposition: queue.Done} })
	if heard := n.since(); len(heard) != 0 {
		t.Errorf("tasks that end without a reply are notified of: %.100q", heard)
	}

	var results []queue.Result
	for _, s := range batch {
		results = append(results, queue.Result{Request: s.ID, Status: "done", Body: []byte("signed")})
	}
	for _, name := range []string{"first", "second"} {
		inserted, err := f.silent("signing").Finish(f.ctx, nil, results)
		if err != nil || (len(inserted) == size) != (name == "first") {
			t.Fatalf("%s: %d inserted, %v", name, len(inserted), err)
		}
		n.want("result", batch)
	}
}
