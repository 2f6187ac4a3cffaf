package approval_test

import (
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// TestRecordsReadAgain: votes are there all the time and none is counted twice;
// what was approved is forgotten, and counts again as it did.
func TestRecordsReadAgain(t *testing.T) {
	w := newWorld(t, func(doc *document.Document) {
		doc.Rules.Approval = append(doc.Rules.Approval, document.Rule{
			ID: "often", Effect: document.EffectDeny, When: `history.count("wallet", duration("24h")) > 0`,
		})
	})
	voted, rejected, approved := w.transfer(twoEther), w.transfer(twoEther), w.transfer("1")
	w.bob(voted, message.Approve).ok(nil)
	w.bob(rejected, message.Reject).ok(nil)
	w.chain = append(w.chain, w.want(approved, policy.Approve, "").Records...)
	replay := func() {
		t.Helper()
		for _, body := range w.chain {
			if err := w.decider.Replay(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	replay()
	if !w.decider.Retain(w.Active()) {
		t.Fatal("something is said to be gone")
	}
	w.want(voted, policy.Reject, rules.CodeDenies)

	w.decider.Forget()
	if d := w.want(voted, policy.Approve, ""); len(d.Evidence) != 1 {
		t.Fatalf("%d votes", len(d.Evidence))
	}
	w.want(rejected, policy.Reject, approval.CodeRejected)
	replay()
	w.want(voted, policy.Reject, rules.CodeDenies)
	w.want(approved, policy.Approve, "") // its own approval is no part of its past
	w.want(rejected, policy.Reject, approval.CodeRejected)
}

var _ policy.Rereader = (*approval.Decider)(nil)
