package trial_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
	"github.com/countersign/countersign/transaction"
)

const payment = `
name: x
at: 2027-03-02T09:30:00Z
user: tom
transaction: {pay: {to: acme, amount: 20000 usdc}}
expect: {verdict: ask}`

// TestVerdicts: each role's verdict, and all together.
func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*document.Document)
		want   [4]trial.Verdict // of all, authorization, fraud, approval
		codes  string
	}{
		"asks": {nil, [4]trial.Verdict{trial.Ask, trial.Allow, trial.Allow, trial.Ask}, "rule_asks"},
		"one-denies": {func(d *document.Document) {
			d.Rules.Fraud[0].Effect = document.EffectDeny
		}, [4]trial.Verdict{trial.Deny, trial.Allow, trial.Deny, trial.Ask}, "rule_denies"},
		"no-rule": {func(d *document.Document) {
			d.Rules.Authorization = nil
		}, [4]trial.Verdict{trial.Deny, trial.Deny, trial.Allow, trial.Ask}, "no_rule_allows"},
		"a-rule-fails": {func(d *document.Document) {
			d.Rules.Approval[0].When = `entry_age("suppliers", tx.to) > duration("1h")`
		}, [4]trial.Verdict{trial.Deny, trial.Allow, trial.Allow, trial.Deny}, "rule_failed"},
		"nobody-to-ask": {func(d *document.Document) {
			asks := ruleOf(d.Rules.Approval, "four-eyes")
			asks.Approvers, asks.Quorum = nil, 0
			d.Approval.Approvers, d.Approval.Quorum = nil, 0
		}, [4]trial.Verdict{trial.Deny, trial.Allow, trial.Allow, trial.Deny}, approval.CodeNoApprovers},
		"no-grant": {func(d *document.Document) {
			d.Grants = d.Grants[1:]
		}, [4]trial.Verdict{trial.Deny, trial.Deny, trial.Deny, trial.Deny}, "not_granted"},
		"a-wallet-by-its-id": {func(d *document.Document) {
			d.Grants[0].Wallets = []string{strings.Repeat("0", 63) + "1"}
		}, [4]trial.Verdict{trial.Deny, trial.Deny, trial.Deny, trial.Deny}, "not_granted"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, files, cases := treasury(t, payment)
			if c.change != nil {
				c.change(doc)
			}
			d, _, err := trial.Decide(t.Context(), doc, files, cases, cases.Cases[0])
			if err != nil {
				t.Fatal(err)
			}
			got := [4]trial.Verdict{d.Verdict}
			var codes []string
			for i, role := range message.PolicyRoles() {
				got[i+1] = d.Of(role).Verdict
				for _, reason := range d.Of(role).Reasons {
					codes = append(codes, reason.Code)
				}
			}
			if c.codes == "rule_failed" && strings.Join(d.Of("approval").Rules, " ") != doc.Rules.Approval[0].ID {
				t.Errorf("%v decide, not the rule that failed", d.Of("approval").Rules)
			}
			if got != c.want || !strings.Contains(strings.Join(codes, " "), c.codes) {
				t.Errorf("got %v with %v, want %v with %s", got, codes, c.want, c.codes)
			}
		})
	}
}

// TestGrantOnOneWallet: a case can name a wallet by its id.
func TestGrantOnOneWallet(t *testing.T) {
	id := strings.Repeat("0", 63) + "1"
	doc, files, cases := treasury(t, strings.Replace(payment, "user: tom", "user: tom\nwallet: {id: \""+id+"\"}", 1))
	doc.Grants[0].Wallets = []string{id}
	o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
	if !o.Passed {
		t.Errorf("%v", o.Faults)
	}
}

// TestExpiredDocumentDecidesNothing: neither yes nor no.
func TestExpiredDocumentDecidesNothing(t *testing.T) {
	doc, files, cases := treasury(t, payment)
	doc.Expires = cases.Cases[0].At
	o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
	if o.Passed || !strings.Contains(strings.Join(o.Faults, "; "), "has expired by then") {
		t.Errorf("%v", o.Faults)
	}
}

// TestAttackManyEffectsOnRecord: a past request that does more than is kept of one
// ends no trial. No role counts it.
func TestAttackManyEffectsOnRecord(t *testing.T) {
	doc, files, cases := treasury(t, payment)
	_, f, err := trial.Decide(t.Context(), doc, files, cases, cases.Cases[0])
	if err != nil {
		t.Fatal(err)
	}
	f.Meaning.Effects.Moves = slices.Repeat(f.Meaning.Effects.Moves, transaction.MaxEffects+1)
	b := trial.NewBench(&document.Active{Document: doc}, cases.Cases[0].At.Time)
	if err := b.Record(message.RoleFraud, f, "tom", cases.Cases[0].At.Time); err != nil {
		t.Error(err)
	}
}

// TestSandboxIsTheSameEachTime: two runs of the same cases make the same
// requests, and another user's key makes another signature.
func TestSandboxIsTheSameEachTime(t *testing.T) {
	var hashes []message.Hash
	for _, user := range []string{"tom", "tom", "tina"} {
		doc, files, cases := treasury(t, strings.Replace(payment, "user: tom", "user: "+user, 1))
		_, f, err := trial.Decide(t.Context(), doc, files, cases, cases.Cases[0])
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, f.Hash)
	}
	if hashes[0] != hashes[1] || hashes[0] == hashes[2] {
		t.Errorf("%v", hashes)
	}
}
