package queue_test

import (
	"testing"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// TestAskWaiting: of the requests that somebody has parked, those are given out
// again whose replies are for other epochs, once and to nobody who is at work on
// them, or has replied just now under the newest document.
func TestAskWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		parked      bool
		replied     message.EpochID
		established bool   // who asks is no newcomer
		now         bool   // the replies came just now
		state       string // what else has become of the request
		want        int
	}{
		"replied-for-an-ended-epoch": {parked: true, replied: epochB, want: 2},
		"replied-for-a-live-epoch":   {parked: true, replied: epochA},
		"nobody-waits":               {replied: epochB},
		"at-work": {
			parked: true, replied: epochB, want: 1,
			state: "INSERT INTO countersign.task (consumer, request_id) VALUES ('fraud', $1)",
		},
		"put-aside": {
			parked: true, replied: epochB, want: 1,
			state: "INSERT INTO countersign.task (consumer, request_id, state) VALUES ('fraud', $1, 2)",
		},
		"replied-since-the-newest-document": {
			parked: true, replied: epochB,
			state: "UPDATE countersign.notice SET created_at = now() - interval '1 minute' WHERE topic = 'policy' OR key = $1::text",
		},
		"replied-late-under-the-document-before": {
			parked: true, replied: epochB, established: true, want: 2,
			state: "UPDATE countersign.notice SET created_at = now() - interval '1 minute' WHERE topic = 'policy' OR key = $1::text",
		},
		"replied-just-now":          {parked: true, replied: epochB, established: true, now: true},
		"newcomer-replied-just-now": {parked: true, replied: epochB, now: true},
		"replied-just-before-the-document": {
			parked: true, replied: epochB, established: true, now: true, want: 2,
			state: "UPDATE countersign.notice SET created_at = now() WHERE topic = 'policy' OR key = $1::text",
		},
		"replied-before-the-clock-was-set-back": {
			parked: true, replied: epochB, established: true, now: true, want: 2,
			state: "UPDATE countersign.reply SET created_at = now() + interval '1 hour' WHERE request_id = $1",
		},
		"attack-document-of-the-last-day-there-is": {
			parked: true, replied: epochB, want: 2,
			state: "UPDATE countersign.notice SET created_at = '294276-12-31 23:59:59' WHERE topic = 'policy' OR key = $1::text",
		},
		"ended": {
			parked: true, replied: epochB,
			state: "INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'rejected', '')",
		},
		"expired": {
			parked: true, replied: epochB,
			state: "UPDATE countersign.request SET expires_at = now() WHERE id = $1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			s := f.submit(1)[0]
			if err := f.silent("operator").Publish(f.ctx, queue.Notice{Topic: queue.TopicPolicy, Key: "1", Sender: "operator", Body: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
			f.reply("authorization", queue.Reply{Epochs: []message.EpochID{test.replied}})
			f.reply("fraud", queue.Reply{Epochs: []message.EpochID{test.replied}})
			if !test.now {
				f.attack("UPDATE countersign.reply SET created_at = now() - interval '11 seconds'")
			}
			if test.parked {
				f.attack("UPDATE countersign.task SET state = 1 WHERE consumer = 'approval' AND request_id = $1", s.ID)
			}
			if test.state != "" {
				f.attack(test.state, s.ID)
			}
			signing := f.silent("signing")
			for _, want := range []int{test.want, 0} {
				got, err := signing.AskWaiting(f.ctx, roles, []message.EpochID{epochA}, !test.established, 10)
				if err != nil || got != want {
					t.Errorf("asked %d, %v; want %d", got, err, want)
				}
			}
		})
	}
}

// TestAttackAnswersOfNoUse: a role that goes on answering for another epoch is not
// asked about the same requests again and again, and takes nobody's turn.
func TestAttackAnswersOfNoUse(t *testing.T) {
	const requests, limit, each = 200, 40, 3
	f := newFixture(t)
	f.waiting(requests)
	signing := f.silent("signing")
	for look := range 6 * requests / limit {
		if _, err := signing.AskWaiting(f.ctx, roles, []message.EpochID{epochA}, false, limit); err != nil {
			t.Fatal(err)
		}
		f.answer("fraud", epochB)
		f.answer("authorization", epochA)
		if look%each == each-1 { // the pause is over
			f.attack("UPDATE countersign.reply SET created_at = created_at - interval '10 seconds'")
		}
	}
	if n := f.count("SELECT count(DISTINCT request_id) FROM countersign.reply WHERE sender = 'authorization' AND epochs && $1", pq.ByteaArray{epochA[:]}); n != requests {
		t.Errorf("authorization has decided %d of %d requests", n, requests)
	}
	if n := f.count("SELECT count(*) FROM (SELECT 1 FROM countersign.reply WHERE sender = 'fraud' GROUP BY request_id HAVING count(*) < 2) never"); n != 0 {
		t.Errorf("fraud was never asked about %d requests", n)
	}
}

// TestAttackNoAnswers: nor does one that takes its tasks away and never answers.
func TestAttackNoAnswers(t *testing.T) {
	const requests, limit = 60, 20
	f := newFixture(t)
	f.waiting(requests)
	f.attack("DELETE FROM countersign.reply WHERE sender = 'fraud'")
	signing := f.silent("signing")
	for range 2 * requests / limit {
		if _, err := signing.AskWaiting(f.ctx, roles, []message.EpochID{epochA}, false, limit); err != nil {
			t.Fatal(err)
		}
		f.attack("DELETE FROM countersign.task WHERE consumer = 'fraud'")
		f.answer("authorization", epochA)
	}
	if n := f.count("SELECT count(DISTINCT request_id) FROM countersign.reply WHERE sender = 'authorization' AND epochs && $1", pq.ByteaArray{epochA[:]}); n != requests {
		t.Errorf("authorization has decided %d of %d requests", n, requests)
	}
}

// waiting are so many requests that the role approval has parked, to which the
// others have replied an hour ago, under the document before.
func (f *fixture) waiting(n int) {
	f.Helper()
	f.submit(n)
	if err := f.silent("operator").Publish(f.ctx, queue.Notice{Topic: queue.TopicPolicy, Key: "1", Sender: "operator", Body: []byte("{}")}); err != nil {
		f.Fatal(err)
	}
	for _, role := range []string{"authorization", "fraud"} {
		f.answer(role, epochB)
	}
	f.attack("UPDATE countersign.notice SET created_at = now() - interval '30 minutes' WHERE topic = 'policy'")
	f.attack("UPDATE countersign.reply SET created_at = now() - interval '1 hour'")
	f.attack("UPDATE countersign.task SET state = 1, available_at = 'infinity' WHERE consumer = 'approval'")
}

// answer settles all tasks of a role with a reply for an epoch.
func (f *fixture) answer(role string, epoch message.EpochID) {
	f.Helper()
	f.count(`WITH done AS (DELETE FROM countersign.task WHERE consumer = $1 RETURNING request_id),
		said AS (INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
			SELECT request_id, $1, '', '', $2, false FROM done)
		SELECT count(*) FROM done`, role, pq.ByteaArray{epoch[:]})
}

// TestAskWaitingBesideAnother: who asks waits for another instance that is asking
// about the same requests, in whatever order it has found them.
func TestAskWaitingBesideAnother(t *testing.T) {
	f := newFixture(t)
	first, second := submission(), submission()
	f.submitBatch([]queue.Submission{first, second})
	f.reply("authorization", queue.Reply{Epochs: []message.EpochID{epochB}})
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochB}})
	f.attack("UPDATE countersign.reply SET created_at = now() - interval '1 minute'")
	f.attack("UPDATE countersign.task SET state = 1, available_at = now() WHERE consumer = 'approval'")
	f.attack("UPDATE countersign.task SET available_at = now() - interval '1 hour' WHERE consumer = 'approval' AND request_id = $1", second.ID)
	other, err := f.db.Owner.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback() }()
	ask := func(s queue.Submission) {
		t.Helper()
		if _, err := other.Exec("INSERT INTO countersign.task (consumer, request_id) VALUES ('authorization', $1)", s.ID); err != nil {
			t.Fatal(err)
		}
	}
	ask(first)
	asked := make(chan error, 1)
	f.run(func() error {
		_, err := f.silent("signing").AskWaiting(f.ctx, roles, []message.EpochID{epochA}, true, 10)
		asked <- err
		return nil
	})
	f.until(1, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	ask(second)
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := receive(f, asked); err != nil {
		t.Error(err)
	}
	if n := f.count("SELECT count(*) FROM countersign.task WHERE consumer IN ('authorization', 'fraud')"); n != 4 {
		t.Errorf("%d tasks, want 4", n)
	}
}
