package queue_test

import (
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// TestAskWaiting: of the requests that somebody has parked, those are given out
// again whose replies are for other epochs, once and to nobody who is at work on
// them.
func TestAskWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		parked  bool
		replied message.EpochID
		state   string // what else has become of the request
		want    int
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
			if test.parked {
				f.attack("UPDATE countersign.task SET state = 1 WHERE consumer = 'approval' AND request_id = $1", s.ID)
			}
			if test.state != "" {
				f.attack(test.state, s.ID)
			}
			signing := f.silent("signing")
			for _, want := range []int{test.want, 0} {
				got, err := signing.AskWaiting(f.ctx, roles, []message.EpochID{epochA}, 10)
				if err != nil || got != want {
					t.Errorf("asked %d, %v; want %d", got, err, want)
				}
			}
		})
	}
}
