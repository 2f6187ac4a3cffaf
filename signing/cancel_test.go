package signing_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/signing/internal/policytest"
)

func TestCancelledRequestIsNotSigned(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	w.players["approval"].set(func(*policytest.Role, policytest.Asked) (policytest.Answer, bool) {
		return policytest.Answer{}, false
	})
	id := w.transfer(time.Hour)
	if c, err := w.proposer.Cancel(t.Context(), secrets.ServiceSigning, id); err != nil || !c.Marked || c.TooLate {
		t.Fatalf("cancelling: %+v, %v", c, err)
	}
	r := w.result(id)
	wantStatus(t, r, message.StatusCancelled)
	wantReason(t, r, message.RoleSigning, signing.CodeCancelled)
	if made := i.chain.made(); len(made) != 0 {
		t.Error("a cancelled request was signed")
	}
}

// TestAttackCancelledFreeze: a freeze that is cancelled while the roles put it in
// force is done, and told as such. It is not verified again and again until it
// expires, at the expense of all others.
func TestAttackCancelledFreeze(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	marked := make(chan struct{})
	for _, p := range w.players {
		p.set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
			<-marked
			return r.Approve(asked, time.Now()), true
		})
	}
	freeze := w.d.Statement(message.KindWalletFreeze, w.wallet, "", message.WalletFreeze{Reason: "lost"}, time.Now().Add(time.Hour))
	id := w.submitSigned(freeze, w.d.ApproverKey, time.Now().Add(time.Hour))
	// Leased, as by an instance that died, so that it is looked at when all have approved.
	if _, err := w.db.Owner.Exec(`UPDATE countersign.task SET cancelled = true, version = version + 1, leased_until = now() + interval '1 second'
		WHERE consumer = 'signing' AND request_id = $1`, id.String()); err != nil {
		t.Fatal(err)
	}
	close(marked)
	wantStatus(t, w.result(id), message.StatusDone)
	if n := w.count("SELECT count(*) FROM countersign.intent WHERE request_id = $1", id); n != 1 {
		t.Errorf("%d intents", n)
	}
}
