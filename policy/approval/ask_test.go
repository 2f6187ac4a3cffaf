package approval_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// people are approvers beside bob, with their keys.
type people map[string]ed25519.PrivateKey

// hire adds approvers, whom no rule asks yet.
func hire(t *testing.T, ids ...string) (people, func(*document.Document)) {
	t.Helper()
	keys := people{}
	for _, id := range ids {
		keys[id] = deploymenttest.Key(t)
	}
	return keys, func(doc *document.Document) {
		for _, id := range ids {
			doc.Approvers = append(doc.Approvers,
				document.Approver{ID: id, Keys: []message.JWK{deploymenttest.JWK(t, keys[id])}})
		}
	}
}

func (p people) vote(w *world, q policy.Request, id string, decision message.Decision) answer {
	w.t.Helper()
	return w.post(q, w.d.Vote(w.on(q, id, decision), p[id]))
}

// ask adds a rule that asks about everything.
func ask(doc *document.Document, id string, quorum int, approvers ...string) {
	doc.Rules.Approval = append([]document.Rule{{
		ID: id, Effect: document.EffectAsk, When: "true", Reason: "because of " + id, Approvers: approvers, Quorum: quorum,
	}}, doc.Rules.Approval...)
}

// TestEveryRuleThatAsksIsAnswered: by its own approvers, as many as it names; one
// person's vote counts wherever that person is asked, and is cited once.
func TestEveryRuleThatAsksIsAnswered(t *testing.T) {
	staff, hired := hire(t, "carol", "dave", "erin")
	w := newWorld(t, func(doc *document.Document) {
		hired(doc)
		doc.Groups = []document.Group{{ID: "treasury", Members: []string{"bob", "carol", "dave"}}}
		ask(doc, "risk", 1, "erin", "carol")
		ask(doc, "desk", 2, "treasury")
	})
	q := w.transfer("1")
	if d := w.want(q, policy.Wait, "desk"); d.Note != "0 of 2 approvals: rule desk" || len(d.Reasons) != 2 {
		t.Fatalf("got %+v", d)
	}
	w.bob(q, message.Approve).ok(nil)
	staff.vote(w, q, "dave", message.Approve).ok(nil)
	if d := w.want(q, policy.Wait, ""); d.Note != "0 of 1 approvals: rule risk" || len(d.Evidence) != 0 {
		t.Fatalf("got %+v", d)
	}
	var shown api.Approval
	w.get(api.Path+"/"+q.Meaning.Statement.ID, staff["erin"]).ok(&shown)
	want := []api.Ask{
		{Rule: "desk", Reason: "because of desk", Approvers: []string{"bob", "carol", "dave"}, Approvals: 2, Quorum: 2},
		{Rule: "risk", Reason: "because of risk", Approvers: []string{"erin", "carol"}, Approvals: 0, Quorum: 1},
	}
	if fmt.Sprint(shown.Asks) != fmt.Sprint(want) || shown.Approvals != 0 || shown.Quorum != 1 || !shown.Open || len(shown.Needed) != 2 {
		t.Fatalf("got %+v", shown)
	}
	var recorded api.Recorded
	staff.vote(w, q, "carol", message.Approve).ok(&recorded)
	if recorded.Approvals < recorded.Quorum {
		t.Fatalf("got %+v", recorded)
	}
	d := w.want(q, policy.Approve, "desk")
	if sorted := slices.Compact(slices.Sorted(slices.Values(d.Evidence))); len(d.Evidence) != 3 || len(sorted) != 3 {
		t.Fatalf("%d votes are cited, %d of them different", len(d.Evidence), len(sorted))
	}
}

// TestAttackVoteOfSomebodyNotAsked: an approver of other rules cannot stand in
// for one whom this rule asks, but may reject.
func TestAttackVoteOfSomebodyNotAsked(t *testing.T) {
	staff, hired := hire(t, "carol", "dave")
	w := newWorld(t, func(doc *document.Document) {
		hired(doc)
		ask(doc, "carol-only", 1, "carol")
	})
	q := w.transfer("1")
	w.bob(q, message.Approve).refused(403, "not_an_approver")
	staff.vote(w, q, "dave", message.Approve).refused(403, "not_an_approver") // nowhere asked
	if len(w.chain) != 0 {
		t.Fatal("something was recorded")
	}
	w.want(q, policy.Wait, "carol-only")
	staff.vote(w, q, "carol", message.Approve).ok(nil)
	w.want(q, policy.Approve, "")
	// A vote that counted for one rule does not count for another.
	w.setPolicy(func(doc *document.Document) { hired(doc); ask(doc, "dave-only", 1, "dave") })
	w.want(q, policy.Wait, "dave-only")
	w.bob(q, message.Reject).ok(nil)
	w.want(q, policy.Reject, approval.CodeRejected)
}

// TestRejectionWhateverTheRulesSay: who has agreed may reject although the rules would
// deny by now, or ask nobody: the agreement may still be used.
func TestRejectionWhateverTheRulesSay(t *testing.T) {
	for name, rule := range map[string]document.Rule{
		"denied":       {ID: "late", Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction}, When: `now >= timestamp("2026-11-21T12:05:00Z")`},
		"nobody-asked": {ID: "early", Effect: document.EffectAsk, Approvers: []string{"bob"}, Quorum: 1, Kinds: []message.Kind{message.KindEthereumTransaction}, When: `now < timestamp("2026-11-21T12:05:00Z")`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(doc *document.Document) {
				if name == "nobody-asked" {
					doc.Rules.Approval = slices.DeleteFunc(doc.Rules.Approval, func(r document.Rule) bool { return r.Effect == document.EffectAsk })
				}
				doc.Rules.Approval = append(doc.Rules.Approval, rule)
			})
			q := w.transfer(twoEther)
			w.bob(q, message.Approve).ok(nil)
			w.now = start.Add(5 * time.Minute)
			if name == "denied" {
				w.bob(q, message.Approve).refused(409, "not_decidable")
				w.get(api.Path+"/"+q.ID.String(), w.d.ApproverKey).refused(409, "not_decidable")
			}
			w.bob(q, message.Reject).ok(nil)
			if w.overruled[q.ID] != 1 {
				t.Fatal("the rejection was not said")
			}
			w.want(q, policy.Reject, approval.CodeRejected)
		})
	}
}

// TestDenialIsNotPutBeforePeople: what the rules deny nobody can agree to.
func TestDenialIsNotPutBeforePeople(t *testing.T) {
	deny := func(doc *document.Document) {
		doc.Rules.Approval = append(doc.Rules.Approval, document.Rule{
			ID: "never", Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction}, When: "tx.value > 1",
		})
	}
	w := newWorld(t, deny)
	w.want(w.transfer("1"), policy.Approve, "rule_allows")
	q := w.transfer(twoEther)
	w.want(q, policy.Reject, rules.CodeDenies)
	a := w.bob(q, message.Approve)
	a.refused(409, "not_decidable")
	if !strings.Contains(a.problem.Detail, "rule never") {
		t.Fatalf("detail is %q", a.problem.Detail)
	}
	var list api.List
	w.get(api.Path, w.d.ApproverKey).ok(&list)
	if len(list.Approvals) != 0 {
		t.Fatalf("got %+v", list)
	}
}

// TestHistoryIsKeptWhereRulesLookAtIt: beside the votes in one chain, only once
// the people have agreed, and taken back with them.
func TestHistoryIsKeptWhereRulesLookAtIt(t *testing.T) {
	w := newWorld(t, func(doc *document.Document) {
		doc.Rules.Approval = append([]document.Rule{{
			ID: "third", Effect: document.EffectAsk, Kinds: []message.Kind{message.KindEthereumTransaction},
			When: `history.count("wallet", duration("24h")) >= 2`,
		}}, doc.Rules.Approval...)
	})
	approve := func(q policy.Request) {
		t.Helper()
		d := w.want(q, policy.Approve, "")
		if len(d.Records) != 1 {
			t.Fatalf("%d records", len(d.Records))
		}
		if err := w.Append(t.Context(), d.Records[0]); err != nil {
			t.Fatal(err)
		}
	}
	approve(w.transfer("1"))
	second := w.transfer(twoEther)
	if d := w.want(second, policy.Wait, aboveEther); len(d.Records) != 0 {
		t.Fatal("what waits is on record")
	}
	w.want(w.transfer("2"), policy.Approve, "")
	w.bob(second, message.Approve).ok(nil)
	approve(second)
	w.want(w.transfer("1"), policy.Wait, "third")
	approve(second) // again: counts once, and its own part is left out

	*w.decider = *approval.New(w.Now)
	w.decider.Mark()
	for _, body := range w.chain {
		if err := w.decider.Replay(body); err != nil {
			t.Fatal(err)
		}
	}
	w.want(w.transfer("1"), policy.Wait, "third")
	w.want(second, policy.Approve, "")
	w.decider.Undo()
	w.want(w.transfer("1"), policy.Approve, "")
	w.want(second, policy.Wait, aboveEther)
}
