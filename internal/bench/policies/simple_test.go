package policies_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

// TestSimple: the simplest document is valid, has one rule of each role and
// nothing that rules could look up, and lets the load's payments through.
func TestSimple(t *testing.T) {
	d := deploymenttest.New(t)
	raw, err := policies.Simple(d.Document(), 2)
	if err != nil {
		t.Fatal(err)
	}
	active, err := document.VerifyBundle(d.Sign(raw, d.Admins[:d.Genesis.Threshold]...), d.Genesis, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if active.Version != 2 || len(active.Lists)+len(active.Assets)+len(active.Calls) > 0 {
		t.Errorf("version %d, %d lists, %d assets", active.Version, len(active.Lists), len(active.Assets))
	}
	for _, w := range rules.Check(active.Document, active.Files()) {
		if w.Code != rules.WarnAllowsAll { // that is what is simple about it
			t.Errorf("%+v", w)
		}
	}
	records, now := d.Records(), time.Now()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	payment := deploymenttest.Transfer{To: "0x00000000000000000000000000000000000000aa", Value: "1"}
	env := d.Ask(message.KindEthereumTransaction, wallet, account, payment.Payload(), now)
	in := judge.Input{Meaning: d.Interpret(records, env), Envelope: message.Sum(env.Statement), Now: now}
	var reason *message.Reason
	if in.User, reason = document.VerifyUser(active, env, in.Meaning, now); reason != nil {
		t.Fatalf("%+v", *reason)
	}
	for _, role := range message.PolicyRoles() {
		out, _, err := judge.New(role, nil).Judge(t.Context(), active, in)
		if err != nil || out.Verdict != rules.Allow || len(out.Trace) != 1 {
			t.Errorf("%s: %s by %d rules because of %+v: %v", role, out.Verdict, len(out.Trace), out.Reasons, err)
		}
	}
}
