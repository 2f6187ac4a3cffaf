package approval_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

func TestDecideThresholds(t *testing.T) {
	w := newWorld(t, nil)
	w.want(w.transfer("1"), policy.Approve, "")
	w.want(w.transfer(twoEther), policy.Wait, aboveEther)
	// The fee counts: one ether and its fee is above one ether.
	w.want(w.transfer(oneEther), policy.Wait, aboveEther)
	w.want(w.transfer("999790000000000000"), policy.Approve, "")
	w.want(w.transfer("999790000000000001"), policy.Wait, aboveEther)

	q := w.transfer("1")
	q.Meaning.Effects.Moves = append(q.Meaning.Effects.Moves, transaction.Move{
		Asset: "eip155:1/erc20:0x00000000000000000000000000000000000000bb", From: "a", To: "b", Amount: new(big.Int),
	})
	w.want(q, policy.Wait, deploymenttest.RuleNoAsk)
	q = w.transfer("1")
	q.Meaning.Effects.Allowances = []transaction.Allowance{{
		Asset: deploymenttest.Token, Owner: "a", Spender: "b", Amount: big.NewInt(1000000001),
	}}
	w.want(q, policy.Wait, deploymenttest.RuleAbove+"token")
	q = w.transfer("1")
	q.Meaning.Effects.Unknown = []transaction.UnknownCall{{To: "a"}}
	w.want(q, policy.Wait, deploymenttest.RuleUnknown)
	q = w.transfer("1")
	q.Meaning.Effects = transaction.Effects{}
	w.want(q, policy.Wait, deploymenttest.RuleUnknown)
}

func TestDecideKinds(t *testing.T) {
	create := message.WalletCreate{Owner: "alice", SeedType: "raw", Source: "software"}
	text := map[string]string{"text": ""}
	w := newWorld(t, nil)
	w.want(w.ask(message.KindWalletCreate, "", "", create), policy.Approve, "")
	w.want(w.ask(message.KindEthereumMessage, w.wallet, w.account, text), policy.Approve, "")
	w.setPolicy(func(doc *document.Document) {
		deploymenttest.AskAlways(doc, message.KindWalletCreate, message.KindEthereumMessage)
	})
	q := w.ask(message.KindWalletCreate, "", "", create)
	w.want(q, policy.Wait, deploymenttest.RuleAlways)
	w.want(w.ask(message.KindEthereumMessage, w.wallet, w.account, text), policy.Wait, deploymenttest.RuleAlways)
	// A request without digests is voted on by its envelope.
	w.bob(q, message.Approve).ok(nil)
	w.want(q, policy.Approve, "")
}

// TestDecideWithoutApprovers: no valid document asks nobody; were there one, it
// would deny.
func TestDecideWithoutApprovers(t *testing.T) {
	w := newWorld(t, nil)
	nobody := *w.active.Document
	nobody.Approval = document.Approval{}
	w.active = &document.Active{Document: &nobody, Ref: w.active.Ref}
	w.want(w.transfer("1"), policy.Approve, "")
	w.want(w.transfer(twoEther), policy.Reject, approval.CodeNoApprovers)
}

// TestAttackUnsignedRequestShownToPeople: a request whose sender is not known
// is rejected, not put before people.
func TestAttackUnsignedRequestShownToPeople(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	q.Envelope = w.d.Envelope(q.Envelope.Statement, deploymenttest.Key(t), start)
	w.want(q, policy.Reject, document.CodeUnknownKey)
}

func TestVotesSurviveAReplay(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	*w.decider = *approval.New(w.Now)
	w.want(q, policy.Wait, "")
	for range 2 { // the same record twice is one
		for _, body := range w.chain {
			if err := w.decider.Replay(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := w.want(q, policy.Approve, "")
	if len(d.Evidence) != 1 || len(w.chain) != 1 {
		t.Fatalf("evidence %v, %d records", d.Evidence, len(w.chain))
	}
	var shown api.Approval
	w.get(api.Path+"/"+q.Meaning.Statement.ID, w.d.ApproverKey).ok(&shown)
	if len(shown.Votes) != 1 {
		t.Fatalf("%d votes are shown", len(shown.Votes))
	}
}

// TestUndoTakesVotesBack: exactly those since the mark, one by one.
func TestUndoTakesVotesBack(t *testing.T) {
	w := newWorld(t, nil)
	q, other := w.transfer(twoEther), w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	w.bob(other, message.Reject).ok(nil)
	votes := w.chain
	replay := func(bodies ...[]byte) {
		t.Helper()
		for _, body := range bodies {
			if err := w.decider.Replay(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	*w.decider = *approval.New(w.Now)
	w.decider.Mark()
	replay(votes...)
	w.want(q, policy.Approve, "")
	w.want(other, policy.Reject, approval.CodeRejected)
	w.decider.Undo()
	w.want(q, policy.Wait, "")
	w.want(other, policy.Wait, "")

	w.decider.Mark()
	replay(votes[0])
	w.decider.Keep()
	w.decider.Mark()
	replay(votes...)
	w.decider.Undo()
	w.want(q, policy.Approve, "")
	w.want(other, policy.Wait, "")
}

// TestVoteNotYetOnRecordIsNotShown: while a vote may still be taken back,
// nobody is told that it is there, and casting it again records it.
func TestVoteNotYetOnRecordIsNotShown(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	*w.decider = *approval.New(w.Now)
	w.decider.Mark()
	if err := w.decider.Replay(w.chain[0]); err != nil {
		t.Fatal(err)
	}
	w.want(q, policy.Approve, "")
	var shown api.Approval
	w.get(api.Path+"/"+q.Meaning.Statement.ID, w.d.ApproverKey).ok(&shown)
	if len(shown.Votes) != 0 || shown.Approvals != 0 {
		t.Fatalf("%+v is shown", shown.Votes)
	}
	w.bob(q, message.Approve).ok(nil)
	if len(w.chain) != 2 {
		t.Fatal("the vote was taken for recorded")
	}
	w.decider.Keep()
	w.get(api.Path+"/"+q.Meaning.Statement.ID, w.d.ApproverKey).ok(&shown)
	if len(shown.Votes) != 1 || shown.Approvals != 1 {
		t.Fatalf("%+v is shown afterwards", shown.Votes)
	}
}

// TestVoteStaysGoodUnderANewerPolicy, unless that refuses the voter or key.
func TestVoteStaysGoodUnderANewerPolicy(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	w.setPolicy(nil)
	w.want(q, policy.Approve, "")
	w.setPolicy(func(doc *document.Document) {
		doc.Approvers[0].Keys = []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}
	})
	w.want(q, policy.Wait, "")
	w.setPolicy(nil)
	w.want(q, policy.Approve, "")
}

func TestAttackRemovedApproverStillCounts(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	dave := deploymenttest.Key(t)
	replace := func(doc *document.Document) {
		doc.Approvers = append(doc.Approvers, document.Approver{ID: "dave", Keys: []message.JWK{deploymenttest.JWK(t, dave)}})
		doc.Approval.Approvers = []string{"dave"}
	}
	w.setPolicy(replace)
	w.want(q, policy.Wait, "")
	w.bob(q, message.Approve).refused(403, "not_an_approver")
	w.post(q, w.d.Vote(w.on(q, "dave", message.Approve), dave)).ok(nil)
	w.want(q, policy.Approve, "")
}

// TestAttackRejectionTakenBack: a vote against is final, whatever is voted
// later, whatever the policy becomes.
func TestAttackRejectionTakenBack(t *testing.T) {
	dave := deploymenttest.Key(t)
	two := func(doc *document.Document) {
		doc.Approvers = append(doc.Approvers, document.Approver{ID: "dave", Keys: []message.JWK{deploymenttest.JWK(t, dave)}})
		doc.Approval.Approvers = append(doc.Approval.Approvers, "dave")
	}
	w := newWorld(t, two)
	q := w.transfer(twoEther)
	w.bob(q, message.Reject).ok(nil)
	w.want(q, policy.Reject, approval.CodeRejected)
	w.bob(q, message.Approve).refused(409, "already_rejected")
	w.post(q, w.d.Vote(w.on(q, "dave", message.Approve), dave)).refused(409, "already_rejected")
	w.setPolicy(func(doc *document.Document) { two(doc); doc.Approval.Approvers = []string{"dave"} })
	w.want(q, policy.Reject, approval.CodeRejected)
	w.setPolicy(func(doc *document.Document) { deploymenttest.AskAbove(doc, deploymenttest.Ether, "9"+twoEther) })
	w.want(q, policy.Reject, approval.CodeRejected)

	// After an agreement too.
	w.setPolicy(two)
	q = w.transfer(twoEther)
	w.post(q, w.d.Vote(w.on(q, "dave", message.Approve), dave)).ok(nil)
	w.want(q, policy.Approve, "")
	w.bob(q, message.Reject).ok(nil)
	w.want(q, policy.Reject, approval.CodeRejected)
}

func TestAttackVoteCountsAfterItsEnd(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	v := w.on(q, deploymenttest.Approver, message.Approve)
	v.Expires = message.At(start.Add(time.Minute))
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).ok(nil)
	w.now = start.Add(time.Minute - time.Second)
	w.want(q, policy.Approve, "")
	w.now = start.Add(time.Minute)
	w.want(q, policy.Wait, "")
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "vote_not_of_this_time")
	w.bob(q, message.Approve).ok(nil)
	w.want(q, policy.Approve, "")
}

// TestAttackVoteOfAnotherEnvelope: a vote on record for one envelope says
// nothing about another with the same id.
func TestAttackVoteOfAnotherEnvelope(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	other := q.Envelope
	other.Received = message.At(start.Add(time.Second))
	w.want(w.store(other), policy.Wait, "")
	w.want(w.transfer(twoEther), policy.Wait, "")
}

func TestReplayRefuses(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	vote := w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)
	h, other := q.EnvelopeHash.String(), message.Sum(nil).String()
	for name, body := range map[string]string{
		"fail/empty":          ``,
		"fail/unknown-member": `{"version":1,"envelope":"` + h + `","vote":"` + vote + `","expires":"2026-11-21T13:00:00Z","x":1}`,
		"fail/version":        `{"version":2,"envelope":"` + h + `","vote":"` + vote + `","expires":"2026-11-21T13:00:00Z"}`,
		"fail/other-envelope": `{"version":1,"envelope":"` + other + `","vote":"` + vote + `","expires":"2026-11-21T13:00:00Z"}`,
		"fail/no-vote":        `{"version":1,"envelope":"` + h + `","vote":"","expires":"2026-11-21T13:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := approval.New(nil).Replay([]byte(body)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

// TestVotesAreForgottenAfterTheEnd keeps memory bounded.
func TestVotesAreForgottenAfterTheEnd(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Reject).ok(nil)
	old := w.chain[0]
	d := approval.New(w.Now)
	if err := d.Replay(old); err != nil {
		t.Fatal(err)
	}
	w.now = start.Add(48 * time.Hour)
	for range 1100 {
		fresh := w.transfer(twoEther)
		v := w.on(fresh, "bob", message.Reject)
		raw, err := message.Encode(map[string]any{
			"version": 1, "envelope": fresh.EnvelopeHash, "vote": w.d.Vote(v, w.d.ApproverKey), "expires": v.Expires,
		})
		if err != nil {
			t.Fatal(err)
		}
		// The record's members have an order of their own.
		if err := d.Replay(reorder(t, raw)); err != nil {
			t.Fatal(err)
		}
	}
	q.Policy, q.Now = w.active, start
	if got, err := d.Decide(t.Context(), q); err != nil || got.Verdict != policy.Wait {
		t.Fatalf("got %+v %v", got, err)
	}
}

func reorder(t *testing.T, raw []byte) []byte {
	t.Helper()
	var r struct {
		Version  int    `json:"version"`
		Envelope string `json:"envelope"`
		Vote     string `json:"vote"`
		Expires  string `json:"expires"`
	}
	if err := message.DecodeStrict(raw, &r); err != nil {
		t.Fatal(err)
	}
	out, err := message.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
