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
