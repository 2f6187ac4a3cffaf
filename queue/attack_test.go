package queue_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// TestAttackNoticesCrowdedOut: one role that was taken over publishes more
// announcements than are ever read. Another role's stays to be seen, and what is
// larger than any message is not read at all.
func TestAttackNoticesCrowdedOut(t *testing.T) {
	f := newFixture(t)
	approval := queue.Notice{
		Topic: queue.TopicAnnouncement, Key: "approval-1/a", Sender: "approval", Body: []byte("good"),
		Expires: time.Now().Add(time.Hour),
	}
	if err := f.silent("approval").Publish(f.ctx, approval); err != nil {
		t.Fatal(err)
	}
	if _, err := f.db.As("fraud").ExecContext(f.ctx, `
		INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
		SELECT 'announcement', 'fraud/' || n, 'fraud', 'junk'::bytea, 'infinity'::timestamptz FROM generate_series(1, 5000) n
		UNION ALL SELECT 'announcement', 'large', 'fraud', decode(repeat('00', 300000), 'hex'), 'infinity'::timestamptz`); err != nil {
		t.Fatal(err)
	}
	got, err := f.silent("signing").Notices(f.ctx, queue.TopicAnnouncement)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, n := range got {
		seen = seen || n.Key == approval.Key
		if len(n.Body) > message.MaxSize {
			t.Errorf("a notice of %d bytes was read", len(n.Body))
		}
	}
	if !seen || len(got) > 1100 {
		t.Errorf("%d notices, approval's among them: %v", len(got), seen)
	}
}

// TestAttackRepliesCrowdedOut: a sender that floods a request displaces its own
// older replies only, and what is larger than any message is not read.
func TestAttackRepliesCrowdedOut(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	insert := func(sender string, body []byte) {
		if _, err := f.db.As(sender).ExecContext(f.ctx, `
			INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
			VALUES ($1, $2, $3, '', ARRAY[$4::bytea], false)`, s.ID, sender, body, epochA[:]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		insert("approval", fmt.Appendf(nil, "approval %d", i))
	}
	for i := range 2 * queue.MaxReplies {
		insert("fraud", fmt.Appendf(nil, "junk %d", i))
	}
	insert("fraud", bytes.Repeat([]byte{'x'}, message.MaxSize+1))
	got := f.gathered(gatherer(10*time.Millisecond, epochA, "fraud", "approval"), queue.Verdict{Disposition: queue.Done})
	g := receive(f, got)
	if len(g.Replies) != queue.MaxReplies {
		t.Errorf("%d replies, want %d", len(g.Replies), queue.MaxReplies)
	}
	kept := 0
	for _, r := range g.Replies {
		if r.Sender == "approval" {
			kept++
		}
		if len(r.Body) > message.MaxSize {
			t.Error("a reply larger than any message was read")
		}
	}
	if kept != 3 {
		t.Errorf("%d of approval's 3 replies are left", kept)
	}
}

// TestAttackDecisiveReplyOfAnEndedEpoch: it is asked for again although another
// sender is still at work, and only it is.
func TestAttackDecisiveReplyOfAnEndedEpoch(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	f.reply("authorization", queue.Reply{Body: []byte("yes"), Epochs: []message.EpochID{epochB}})
	f.reply("fraud", queue.Reply{Body: []byte("no"), Epochs: []message.EpochID{epochB}, Decisive: true})
	got, err := f.silent("signing").Stalled(f.ctx, roles, []message.EpochID{epochA}, 0, 10)
	if err != nil || len(got) != 1 || got[0].Request != s.ID || len(got[0].Missing) != 1 || got[0].Missing[0] != "fraud" {
		t.Errorf("stalled %+v, %v", got, err)
	}
	got, err = f.silent("signing").Stalled(f.ctx, roles, []message.EpochID{epochB}, 0, 10)
	if err != nil || len(got) != 0 {
		t.Errorf("stalled in the epoch that the reply names: %+v, %v", got, err)
	}
}

// TestAttackTaskTakenAway: a task that was taken away, put aside, put off or
// leased for ever is given back at the request's expiry; one that is at work is let be, and what
// has a result stays ended.
func TestAttackTaskTakenAway(t *testing.T) {
	f := newFixture(t)
	signing := f.silent("signing")
	var batch []queue.Submission
	for range 6 {
		s := submission()
		s.Expires = time.Now().Add(-time.Second)
		batch = append(batch, s)
	}
	open := submission() // not expired yet
	f.submitBatch(append(batch, open))
	if _, err := signing.Finish(f.ctx, nil, []queue.Result{{Request: batch[5].ID, Status: "signed"}}); err != nil {
		t.Fatal(err)
	}
	for i, statement := range []string{
		"DELETE FROM countersign.task WHERE consumer = 'signing' AND request_id = $1",
		"UPDATE countersign.task SET state = 2, available_at = 'infinity' WHERE consumer = 'signing' AND request_id = $1",
		"UPDATE countersign.task SET available_at = 'infinity' WHERE consumer = 'signing' AND request_id = $1",
		"UPDATE countersign.task SET leased_until = 'infinity' WHERE consumer = 'signing' AND request_id = $1",
	} {
		if _, err := f.db.Owner.ExecContext(f.ctx, statement, batch[i].ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int64{4, 0} {
		if n, err := signing.Reclaim(f.ctx, time.Hour); err != nil || n != want {
			t.Errorf("reclaimed %d, %v; want %d", n, err, want)
		}
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer = 'signing' AND state = 0 AND greatest(available_at, leased_until) <= clock_timestamp()"); n != 6 {
		t.Errorf("%d tasks are ready, want those of the 5 expired requests and of the open one", n)
	}
}

// TestAttackRepliesDeleted: junk replies are added and, when they have been
// looked at, deleted again. The true reply that comes then is not mistaken for
// one that was seen.
func TestAttackRepliesDeleted(t *testing.T) {
	f := newFixture(t)
	awaited := make(chan struct{}, 100)
	g := gatherer(10*time.Millisecond, epochA, "fraud")
	g.AfterCommit = func(tasks []queue.Task, _ []queue.Verdict) {
		if len(tasks) > 0 {
			awaited <- struct{}{}
		}
	}
	got := f.gathered(g, queue.Verdict{Disposition: queue.Await})
	s := f.submit(1)[0]
	if _, err := f.db.Owner.ExecContext(f.ctx, `
		INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
		SELECT $1, 'fraud', 'junk', '', ARRAY[$2::bytea], true FROM generate_series(1, 10)`, s.ID, epochA[:]); err != nil {
		t.Fatal(err)
	}
	receive(f, got)
	receive(f, awaited)
	if _, err := f.db.Owner.ExecContext(f.ctx, "DELETE FROM countersign.reply"); err != nil {
		t.Fatal(err)
	}
	f.reply("fraud", queue.Reply{Body: []byte("true"), Epochs: []message.EpochID{epochA}})
	if g := receive(f, got); len(g.Replies) != 1 || string(g.Replies[0].Body) != "true" {
		t.Errorf("gathered %+v", g)
	}
}

// TestAttackReplyFromTheFuture: times that somebody wrote into the future do
// not make a request look fresh for ever.
func TestAttackReplyFromTheFuture(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	for _, role := range roles[:2] {
		f.reply(role, queue.Reply{Body: []byte("old"), Epochs: []message.EpochID{epochB}})
	}
	for _, statement := range []string{
		"DELETE FROM countersign.task WHERE consumer = 'approval'",
		"UPDATE countersign.reply SET created_at = 'infinity'",
		"UPDATE countersign.request SET submitted_at = 'infinity'",
	} {
		if _, err := f.db.Owner.ExecContext(f.ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.silent("signing").Stalled(f.ctx, roles, []message.EpochID{epochA}, time.Second, 10)
	if err != nil || len(got) != 1 || got[0].Request != s.ID || len(got[0].Missing) != 3 {
		t.Errorf("stalled %+v, %v", got, err)
	}
}
