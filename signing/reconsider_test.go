package signing_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// follow has all roles decide under a document from now on.
func (w *world) follow(active *document.Active) {
	for _, p := range w.players {
		p.set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
			asked.Policy = active.Ref
			return r.Approve(asked, time.Now()), true
		})
	}
}

// waiting submits a transfer that the approval role parks, and waits until the
// others have approved it.
func (w *world) waiting() uuid.UUID {
	w.t.Helper()
	w.players["approval"].park(time.Hour)
	id := w.transfer(time.Hour)
	w.until("the request waits for people alone", func() bool {
		return w.count("SELECT count(*) FROM countersign.reply WHERE request_id = $1", id) == 2 &&
			w.count("SELECT count(*) FROM countersign.task WHERE request_id = $1 AND state = 1", id) == 1
	})
	return id
}

// TestNewDocumentRejectsWhatWaits: a request that waits for people ends at once
// where a new document has another role deny it, also one that approved it under
// the document before when the new one was long published, since it activated it
// late. Nobody is asked in vain.
func TestNewDocumentRejectsWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	id := w.waiting()
	if _, err := w.db.Owner.Exec("UPDATE countersign.reply SET created_at = now() + interval '1 minute'"); err != nil {
		t.Fatal(err)
	}
	second := func(d *document.Document) { d.Version = 2 }
	active := w.d.Active(second)
	w.follow(active)
	w.players["authorization"].set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
		asked.Policy = active.Ref
		return r.Reject(asked, time.Now(), "denied"), true
	})
	w.push(second)
	wantStatus(t, w.result(id), message.StatusRejected)
}

// TestNewDocumentAsksOnceWhatWaits: each role that has approved a waiting request
// is asked once more under a new document, and the request is signed under it
// when people have agreed.
func TestNewDocumentAsksOnceWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	id := w.waiting()
	second := func(d *document.Document) { d.Version = 2 }
	w.follow(w.d.Active(second))
	w.push(second)
	w.until("authorization and fraud have decided again", func() bool {
		return w.players["authorization"].timesAsked(id) == 2 && w.players["fraud"].timesAsked(id) == 2
	})
	w.players["approval"].park(0)
	if err := w.players["approval"].q.Unpark(t.Context(), "approval", id); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w.result(id), message.StatusSigned)
	for _, role := range []string{"authorization", "fraud"} {
		if n := w.players[role].timesAsked(id); n != 2 {
			t.Errorf("%s was asked %d times, want once under each document", role, n)
		}
	}
}

// TestRestartAsksWhatTheDocumentConcerns: a new instance has those requests decided
// again that were decided before the newest document came, and no others: a "no"
// is for good, and a restart is no reason for one.
func TestRestartAsksWhatTheDocumentConcerns(t *testing.T) {
	w := newWorld(t)
	first := w.ready(w.start(nil))
	w.needAccount()
	before, since := w.waiting(), w.waiting()
	first.stop()
	for _, set := range []string{
		"UPDATE countersign.notice SET created_at = now() - interval '1 hour' WHERE topic = 'policy'",
		"UPDATE countersign.reply SET created_at = now() - interval '2 hours' WHERE request_id = '" + before.String() + "'",
	} {
		if _, err := w.db.Owner.Exec(set); err != nil {
			t.Fatal(err)
		}
	}
	w.start(nil)
	w.until("both roles are asked about the earlier one", func() bool {
		return w.players["authorization"].timesAsked(before) == 2 && w.players["fraud"].timesAsked(before) == 2
	})
	for _, role := range []string{"authorization", "fraud"} {
		if n := w.players[role].timesAsked(since); n != 1 {
			t.Errorf("%s was asked %d times about what it had decided under this document", role, n)
		}
	}
}
