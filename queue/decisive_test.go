package queue_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// no is a decisive reply as a row, in whatever role's name.
func (f *fixture) no(id uuid.UUID) {
	f.Helper()
	f.attack("INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ($1, 'fraud', 'no', '', ARRAY[$2::bytea], true)",
		id, epochA[:])
}

// heeding is a handler that intends whatever it reads no decisive reply of, and
// ends all; before is called with each request.
func heeding(q *queue.Queue, before func(queue.Gathered)) queue.GatherHandler {
	finish := finishing(q)
	return func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
		w, err := finish(ctx, batch)
		for _, g := range batch {
			before(g)
			decisive := false
			for _, r := range g.Replies {
				decisive = decisive || r.Decisive
			}
			if !decisive {
				w.Intents = append(w.Intents, queue.Intent{Request: g.Request, Instance: "i", Body: g.Body})
			}
		}
		return w, err
	}
}

// TestAttackRejectionBehindAnOffer: a reply that is notified does not hide the
// decisive one that stands.
func TestAttackRejectionBehindAnOffer(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	var offered atomic.Int32
	f.gatherOffered(signing, gatherer(time.Hour, epochA, "fraud"), heeding(signing, func(g queue.Gathered) {
		if g.Offered {
			offered.Add(1)
		}
	}))
	f.listening(1, "signing")
	for n := 0; offered.Load() == 0; n++ { // the first may come before it listens to both channels
		if n > 20 {
			t.Fatal("nothing was offered")
		}
		s := f.submit(1)[0]
		f.no(s.ID)
		f.notify(replyChannel, replyOf(s.ID, "fraud", "yes"))
		f.until(1, "SELECT count(*) FROM countersign.result WHERE request_id = $1", s.ID)
	}
	if n := f.count("SELECT count(*) FROM countersign.intent"); n != 0 {
		t.Errorf("%d intents against what a role has said", n)
	}
}

// TestRejectionBeforeTheIntent: what a role says while a request is worked on
// counts until its intent stands.
func TestRejectionBeforeTheIntent(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	var read atomic.Int32
	f.gather(signing, gatherer(20*time.Millisecond, epochA, "fraud"), heeding(signing, func(g queue.Gathered) {
		if read.Add(1) == 1 {
			f.no(g.Request)
		}
	}))
	s := f.submit(1)[0]
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	f.until(1, "SELECT count(*) FROM countersign.result WHERE request_id = $1", s.ID)
	if n := f.count("SELECT count(*) FROM countersign.intent"); n != 0 || read.Load() != 2 {
		t.Errorf("%d intents, read %d times", n, read.Load())
	}
}

// TestAttackDecisiveReplyThatIsNotDelivered: a reply that is larger than any message
// neither ends a request nor holds it up.
func TestAttackDecisiveReplyThatIsNotDelivered(t *testing.T) {
	f := newFixture(t)
	signing := f.queue("signing")
	s := f.submit(1)[0]
	f.attack("INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ($1, 'fraud', $2, '', ARRAY[$3::bytea], true)",
		s.ID, make([]byte, message.MaxSize+1), epochA[:])
	f.reply("fraud", queue.Reply{Epochs: []message.EpochID{epochA}})
	f.gather(signing, gatherer(20*time.Millisecond, epochA, "fraud"), heeding(signing, func(queue.Gathered) {}))
	f.until(1, "SELECT count(*) FROM countersign.intent i JOIN countersign.result r USING (request_id) WHERE i.request_id = $1", s.ID)
}

// TestSay: a role speaks without a task, wakes who gathers, and adds nothing to a
// request that has ended.
func TestSay(t *testing.T) {
	f := newFixture(t)
	gathered := f.gathered(gatherer(time.Hour, epochA, "fraud", "authorization"), queue.Verdict{Disposition: queue.Done})
	f.listening(1, "signing")
	s := f.submit(1)[0]
	f.attack("DELETE FROM countersign.task WHERE consumer = 'fraud'")
	fraud := f.silent("fraud")
	no := queue.Reply{Body: []byte("no"), Epochs: []message.EpochID{epochA}, Decisive: true}
	if err := fraud.Say(f.ctx, "fraud", s.ID, no); err != nil {
		t.Fatal(err)
	}
	g := receive(f, gathered)
	if g.Request != s.ID || len(g.Replies) != 1 || string(g.Replies[0].Body) != "no" || g.Replies[0].Sender != "fraud" || !g.Replies[0].Decisive {
		t.Errorf("gathered %+v", g)
	}
	if err := fraud.Say(f.ctx, "authorization", s.ID, no); err == nil {
		t.Error("a role spoke in another's name")
	}
	if _, err := f.silent("signing").Finish(f.ctx, nil, []queue.Result{{Request: s.ID, Status: "rejected", Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if err := fraud.Say(f.ctx, "fraud", s.ID, no); err != nil {
		t.Error(err)
	}
	if n := f.count("SELECT count(*) FROM countersign.reply"); n != 1 {
		t.Errorf("%d replies", n)
	}
}
