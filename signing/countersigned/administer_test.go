package countersigned_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// dryRun is a transfer that is only asked about.
func (w *world) dryRun() policytest.Asked {
	w.t.Helper()
	var s message.Statement
	must(w.t, message.DecodeStrict(statementOf(w.t.(*testing.T), w.transfer()), &s))
	s.DryRun = true
	raw, err := message.Encode(s)
	must(w.t, err)
	return w.askStatement(raw)
}

func says(d message.Decision) policytest.Edit {
	return func(a *message.Approval, _ *message.Attachment) {
		a.Decision, a.Reasons = d, []message.Reason{{Code: "because", Detail: "said in a test"}}
	}
}

// TestDryRun: each role's decision is told, and nothing is signed.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	asked := w.dryRun()
	replies := w.approvals(asked, "", says(message.WouldApprove))
	replies[1] = reply(w.roles["fraud"].Approve(asked, w.clock.Now(), says(message.WouldReject)))
	replies[2] = reply(w.roles["approval"].Approve(asked, w.clock.Now(), says(message.WouldAsk)))
	out := w.finish(w.verify(asked, replies))
	if out.Status != message.StatusDone || out.Wallet != nil || out.Account != nil {
		t.Fatalf("outcome %+v", out)
	}
	var got message.DryRun
	must(t, message.Decode(out.Output, &got))
	for i, want := range []message.Decision{message.WouldApprove, message.WouldReject, message.WouldAsk} {
		d := got.Decisions[i]
		if d.Role != w.d.Genesis.Roles[i] || d.Decision != want || len(d.Reasons) != 1 || d.Reasons[0].Code != "because" {
			t.Errorf("decision %d is %+v", i, d)
		}
	}
}

// TestDryRunOfWhatThereIsNot: nobody rejects a dry run for earnest, so the
// signing service ends it when all roles have spoken, in their words.
func TestDryRunOfWhatThereIsNot(t *testing.T) {
	w := newWorld(t)
	asked := w.dryRun()
	clear(w.store.accounts)
	clear(w.store.wallets)
	replies := w.approvals(asked, "", says(message.WouldReject))
	wantCode(t, w.verify(asked, replies[:2]), countersigned.Incomplete, message.RoleSigning, countersigned.CodeUnknownRecord)
	f := w.verify(asked, replies)
	if f.Ruling != countersigned.Rejected || len(f.Reasons) != len(replies) {
		t.Fatalf("ruled %v for %+v", f.Ruling, f.Reasons)
	}
	for i, r := range f.Reasons {
		if r.Role != w.d.Genesis.Roles[i] || r.Code != "because" {
			t.Errorf("reason %d is %+v", i, r)
		}
	}
}

// TestAttackDryRunForEarnest: what a role would decide is no approval of the
// request in earnest, and an approval in earnest is none of a dry run.
func TestAttackDryRunForEarnest(t *testing.T) {
	w := newWorld(t)
	earnest := w.transfer()
	for _, d := range []message.Decision{message.WouldApprove, message.WouldAsk, message.WouldReject} {
		f := w.verify(earnest, w.approvals(earnest, "fraud", says(d)))
		wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeMissing)
	}
	asked := w.dryRun()
	f := w.verify(asked, w.approvals(asked, "fraud", says(message.Approve)))
	wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeMissing)
	// Nor does a share that a role gives away for a dry run help anybody.
	gift := w.transfer()
	asked.Meaning.Releases = gift.Meaning.Releases
	f = w.verify(asked, w.approvals(asked, "", says(message.WouldApprove)))
	wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeApprovalShares)
}

// TestFreezeIsDone: whoever may freeze has it carried out without any key; a
// user's own key is not enough, whatever the roles say.
func TestFreezeIsDone(t *testing.T) {
	w := newWorld(t)
	w.needAccount()
	statement := w.d.Statement(message.KindWalletFreeze, w.wallet, "", message.WalletFreeze{Reason: "lost"}, w.clock.Now().Add(time.Hour))
	asked := w.askEnvelope(w.d.Envelope(statement, w.d.ApproverKey, w.clock.Now()))
	out := w.carryOut(asked)
	var got countersigned.FreezeOutput
	must(t, message.Decode(out.Output, &got))
	if out.Status != message.StatusDone || got.Freeze != asked.ID || got.Wallet != w.wallet {
		t.Fatalf("outcome %s %+v", out.Status, got)
	}
	byUser := w.askStatement(statement)
	wantCode(t, w.verify(byUser, w.approvals(byUser, "")), countersigned.Rejected, message.RoleSigning, document.CodeUnknownKey)
}

// grantUpdate lets alice carry documents.
func grantUpdate(d *document.Document) {
	d.Grants[0].Kinds = append(d.Grants[0].Kinds, message.KindPolicyUpdate)
	d.Grants[0].Wallets = append(d.Grants[0].Wallets, document.WalletsAny)
}

// carriers has a document active that lets alice carry others.
func (w *world) carriers() {
	w.t.Helper()
	w.activate(grantUpdate)
	w.open()
	w.announceAll()
}

func (w *world) update(bundle message.PolicyBundle) policytest.Asked {
	w.t.Helper()
	return w.ask(message.KindPolicyUpdate, "", "", bundle)
}

// TestPolicyUpdate: a document that the quorum has signed is handed out to be
// published, as it came.
func TestPolicyUpdate(t *testing.T) {
	w := newWorld(t)
	w.carriers()
	bundle := w.d.Policy(func(d *document.Document) { d.Version = w.policy().Version + 1 })
	out := w.carryOut(w.update(bundle))
	var got message.PolicyBundle
	must(t, message.Decode(out.Policy, &got))
	var said countersigned.PolicyOutput
	must(t, message.Decode(out.Output, &said))
	if out.Status != message.StatusDone || string(got.Document) != string(bundle.Document) ||
		said.Version != w.policy().Version+1 || said.Hash != message.Sum(bundle.Document) {
		t.Fatalf("outcome %s %+v", out.Status, said)
	}
}

// TestAttackPolicyUpdate: whatever the roles and the user say, the quorum's
// signatures decide.
func TestAttackPolicyUpdate(t *testing.T) {
	w := newWorld(t)
	w.carriers()
	next := func(d *document.Document) { d.Version = w.policy().Version + 1 }
	good := w.d.Policy(next)
	for name, bundle := range map[string]message.PolicyBundle{
		"fail/one-admin":        {Document: good.Document, Signatures: good.Signatures[:1]},
		"fail/one-admin-twice":  {Document: good.Document, Signatures: []string{good.Signatures[0], good.Signatures[0]}},
		"fail/changed":          {Document: append([]byte("# more\n"), good.Document...), Signatures: good.Signatures},
		"fail/version-put-back": w.d.Policy(func(d *document.Document) { d.Version = w.policy().Version }),
		"fail/expired": w.d.Policy(func(d *document.Document) {
			next(d)
			d.Expires = document.At(w.clock.Now())
		}),
	} {
		t.Run(name, func(t *testing.T) {
			asked := w.update(bundle)
			wantCode(t, w.verify(asked, w.approvals(asked, "")), countersigned.Rejected, message.RoleSigning, countersigned.CodePolicy)
		})
	}
	w.activate(func(d *document.Document) { d.Version = w.policy().Version + 1 }) // without the grant
	w.open()
	w.announceAll()
	asked := w.update(w.d.Policy(next))
	wantCode(t, w.verify(asked, w.approvals(asked, "")), countersigned.Rejected, message.RoleSigning, document.CodeNotGranted)
}
