package approval_test

import (
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// TestAttackRejectedEnvelopeExchanged: between a person's rejection and the
// decision somebody puts the same statement into another envelope. The person
// has rejected what the statement asks for, in whatever envelope; and an
// agreement to the one is none to the other.
func TestAttackRejectedEnvelopeExchanged(t *testing.T) {
	for decision, want := range map[message.Decision]policy.Verdict{message.Reject: policy.Reject, message.Approve: policy.Wait} {
		t.Run(string(decision), func(t *testing.T) {
			w := newWorld(t, nil)
			q := w.transfer(twoEther)
			w.want(q, policy.Wait, aboveEther)
			w.bob(q, decision).ok(nil)
			env := q.Envelope
			env.Received = message.At(env.Received.Add(1e9))
			exchanged := w.store(env)
			if exchanged.EnvelopeHash == q.EnvelopeHash {
				t.Fatal("the envelope is the same")
			}
			w.want(exchanged, want, "")
			if decision == message.Reject {
				w.post(exchanged, w.d.Vote(w.on(exchanged, deploymenttest.Approver, message.Approve), w.d.ApproverKey)).
					refused(409, "already_rejected")
			}
		})
	}
}
