package approval_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
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

// TestAttackRejectedUnderALaterEnd: a user signs two statements with one id, of
// which somebody shows one after the other. That votes on the one that ends
// earlier are forgotten takes back no rejection of the other.
func TestAttackRejectedUnderALaterEnd(t *testing.T) {
	w := newWorld(t, nil)
	first := w.transfer(twoEther)
	w.bob(first, message.Approve).ok(nil)
	s := first.Meaning.Statement
	s.Expires = message.At(s.Expires.Add(7 * 24 * time.Hour))
	statement, err := message.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	second := w.store(w.d.Envelope(statement, w.d.UserKey, w.now))
	w.bob(second, message.Reject).ok(nil)
	w.now = first.Meaning.Statement.Expires.Add(25 * time.Hour)
	for range 1024 {
		w.others(second)
	}
	w.want(second, policy.Reject, approval.CodeRejected)
}

// others records a vote on another request.
func (w *world) others(q policy.Request) {
	w.t.Helper()
	v := w.on(q, deploymenttest.Approver, message.Approve)
	v.Request = uuid.Must(uuid.NewV7()).String()
	body := fmt.Appendf(nil, `{"version":1,"envelope":%q,"vote":%q,"expires":%q}`,
		v.Envelope, w.d.Vote(v, w.d.ApproverKey), v.Expires.Format(time.RFC3339))
	if err := w.Append(w.t.Context(), body); err != nil {
		w.t.Fatal(err)
	}
}

// TestAttackVotesForASecond: an approver agrees again and again, each time for no
// longer than a second. Few of these votes are kept, so that deciding stays cheap;
// the newest counts, and nobody else's goes.
func TestAttackVotesForASecond(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	vote := func(decision message.Decision, life time.Duration) {
		v := w.on(q, deploymenttest.Approver, decision)
		v.Expires = message.At(w.now.Add(life))
		w.post(q, w.d.Vote(v, w.d.ApproverKey)).ok(nil)
	}
	for range 100 {
		vote(message.Approve, time.Second)
		w.want(q, policy.Approve, "")
		w.now = w.now.Add(time.Second)
		w.want(q, policy.Wait, aboveEther)
	}
	var shown api.Approval
	w.get(api.Path+"/"+q.ID.String(), w.d.ApproverKey).ok(&shown)
	if n := len(shown.Votes); n > 10 {
		t.Errorf("%d votes are kept", n)
	}
	reread := func(verdict policy.Verdict, why string) {
		for _, body := range w.chain {
			if err := w.decider.Replay(body); err != nil {
				t.Fatal(err)
			}
			w.want(q, verdict, why)
		}
	}
	vote(message.Approve, time.Minute)
	reread(policy.Approve, "") // at each moment: see Decider.Forget
	vote(message.Reject, time.Minute)
	reread(policy.Reject, approval.CodeRejected)
}

// TestAttackFrozenApprover: whoever was stopped as a user, because a laptop with
// the keys is lost, agrees to nothing, not even by what was signed before; what
// that person rejects stays rejected.
func TestAttackFrozenApprover(t *testing.T) {
	w := newWorld(t, func(doc *document.Document) {
		doc.Users = append(doc.Users, document.User{ID: "carol"})
		doc.Approvers[0].User = "carol"
	})
	agreed, other := w.transfer(twoEther), w.transfer(twoEther)
	w.bob(agreed, message.Approve).ok(nil)
	w.want(agreed, policy.Approve, "")
	w.frozen = "carol"
	w.want(agreed, policy.Wait, aboveEther)
	w.bob(agreed, message.Approve).refused(403, "approver_frozen")
	w.bob(other, message.Approve).refused(403, "approver_frozen")
	var shown api.Approval
	w.get(api.Path+"/"+agreed.ID.String(), w.d.ApproverKey).ok(&shown)
	if shown.Approvals != 0 || shown.Votes[0].Counts {
		t.Errorf("shown: %d approvals, %+v", shown.Approvals, shown.Votes)
	}
	w.bob(other, message.Reject).ok(nil)
	w.want(other, policy.Reject, approval.CodeRejected)
	w.frozen = "" // the quorum has taken it back
	w.want(agreed, policy.Approve, "")
	w.want(other, policy.Reject, approval.CodeRejected)
}
