package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

func TestListAndGet(t *testing.T) {
	f := newFixture(t)
	q := f.silent("proposer")
	batch := []queue.Submission{submission(), submission(), submission(), submission()}
	batch[1].Owner, batch[2].Kind, batch[3].Wallet = "bob", "other.kind", "w2"
	f.submitBatch(batch)
	f.reply("fraud", queue.Reply{Body: []byte("jws"), Epochs: []message.EpochID{epochA}, Decisive: true})
	if _, err := f.silent("signing").Finish(f.ctx, nil, []queue.Result{{Request: batch[0].ID, Status: "rejected", Body: []byte("r")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.db.Owner.Exec(`UPDATE countersign.task SET state = 1 WHERE request_id = $1 AND consumer IN ('approval', 'signing')`, batch[2].ID.String()); err != nil {
		t.Fatal(err)
	}
	names := map[uuid.UUID]int{}
	for i, s := range batch {
		names[s.ID] = i
	}
	for _, c := range []struct {
		name   string
		filter queue.Filter
		want   string
	}{
		{"all", queue.Filter{}, "[3 2 1 0]"},
		{"owner", queue.Filter{Owner: "alice"}, "[3 2 0]"},
		{"status", queue.Filter{Status: "rejected"}, "[0]"},
		{"pending", queue.Filter{Status: "pending", Owner: "alice"}, "[3 2]"},
		{"parked", queue.Filter{Status: "pending", ParkedBy: []string{"fraud", "approval"}}, "[2]"},
		{"parked-by-another", queue.Filter{ParkedBy: []string{"fraud"}}, "[]"},
		{"kind", queue.Filter{Kind: "other.kind"}, "[2]"},
		{"wallet", queue.Filter{Wallet: "w2"}, "[3]"},
		{"page", queue.Filter{Limit: 2}, "[3 2]"},
		{"next-page", queue.Filter{Limit: 2, Before: batch[2].ID}, "[1 0]"},
		{"injection", queue.Filter{Owner: "' OR true --"}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			views, err := q.List(f.ctx, c.filter)
			if err != nil {
				t.Fatal(err)
			}
			got := []int{}
			for _, v := range views {
				got = append(got, names[v.ID])
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("listed %v, want %s", got, c.want)
			}
		})
	}
	v, err := q.Get(f.ctx, batch[0].ID)
	if err != nil || v.Result == nil || v.Result.Status != "rejected" || len(v.Replies) != 1 || v.Replies[0].Sender != "fraud" {
		t.Errorf("view %+v, %v", v, err)
	}
	if _, err := q.Get(f.ctx, uuid.New()); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("missing request: %v", err)
	}
}

// Whoever writes into the tables makes bytes arrive, nothing more: rows of odd
// sizes, of unknown requests and senders neither stop nor change the queue.
func TestAttackInjectedRowsAreOnlyBytes(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	for _, statement := range []string{
		// tasks and results of requests that do not exist
		`INSERT INTO countersign.task (consumer, request_id) SELECT c, gen_random_uuid() FROM unnest('{signing,fraud}'::text[]) c`,
		`INSERT INTO countersign.result (request_id, status, body) VALUES (gen_random_uuid(), 'signed', 'forged')`,
		// replies with odd epochs, of an unknown sender, of a role that said nothing
		fmt.Sprintf(`INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
			SELECT '%s', sender, 'forged', '', array['\x01'::bytea, '\x0a000000000000000000000000000000'], false
			FROM unnest('{mallory,fraud}'::text[]) sender`, s.ID),
		// hashes that are no hashes
		`UPDATE countersign.request SET hash = 'short'`,
		// notifications of all kinds
		`SELECT pg_notify('countersign_reply', 'fraud|nonsense'), pg_notify('countersign_reply', '|'), pg_notify('countersign_result', ',,'), pg_notify('countersign_task', 'x,,y'), pg_notify('countersign_notice', '')`,
	} {
		if _, err := f.db.Owner.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	got := f.gathered(gatherer(10*time.Millisecond, epochA, "fraud"), queue.Verdict{Disposition: queue.Done})
	g := receive(f, got)
	if g.Request != s.ID || len(g.Replies) != 1 || string(g.Replies[0].Body) != "forged" || len(g.Replies[0].Epochs) != 1 {
		t.Errorf("gathered %+v", g)
	}
	if !g.Hash.IsZero() {
		t.Error("a hash of a wrong length passes as one")
	}
	delivered := make(chan uuid.UUID, 5)
	f.consume(f.queue("fraud"), queue.Consumer{Name: "fraud"}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		for _, task := range tasks {
			delivered <- task.Request
		}
		return all(len(tasks), queue.Verdict{Disposition: queue.Done}), nil
	})
	if id := receive(f, delivered); id != s.ID {
		t.Error("a task of no request was delivered")
	}
}

// A sender that floods a request does not push out the others' replies.
func TestAttackFloodOfReplies(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	insert := `INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
		SELECT $1, $2, 'x', '', array['\x0a000000000000000000000000000000'::bytea], false FROM generate_series(1, $3)`
	for _, c := range []struct {
		sender string
		n      int
	}{{"approval", 1}, {"fraud", 500}, {"mallory", 500}} {
		if _, err := f.db.Owner.Exec(insert, s.ID.String(), c.sender, c.n); err != nil {
			t.Fatal(err)
		}
	}
	g := receive(f, f.gathered(gatherer(10*time.Millisecond, epochA, "fraud", "approval"), queue.Verdict{Disposition: queue.Done}))
	senders := map[string]int{}
	for _, r := range g.Replies {
		senders[r.Sender]++
	}
	if senders["approval"] != 1 || senders["mallory"] != 0 || len(g.Replies) != queue.MaxReplies {
		t.Errorf("replies by sender %v", senders)
	}
}

func TestInvalidUse(t *testing.T) {
	f := newFixture(t)
	q := f.silent("signing")
	handler := func(context.Context, []queue.Task) (queue.Work, error) { return queue.Work{}, nil }
	for name, err := range map[string]error{
		"no-name":    q.Consume(f.ctx, queue.Consumer{}, handler),
		"long-lease": q.Consume(f.ctx, queue.Consumer{Name: "x", Lease: time.Hour}, handler),
		"no-handler": q.Consume(f.ctx, queue.Consumer{Name: "x"}, nil),
		"no-senders": q.Gather(f.ctx, queue.Gatherer{Consumer: queue.Consumer{Name: "x"}}, nil),
	} {
		if !errors.Is(err, queue.ErrInvalid) {
			t.Errorf("fail/%s: %v", name, err)
		}
	}
	if _, err := q.Submit(f.ctx, []queue.Submission{submission()}, queue.Recipients{Gatherer: "signing"}); !errors.Is(err, queue.ErrInvalid) {
		t.Errorf("fail/no-consumers: %v", err)
	}
}
