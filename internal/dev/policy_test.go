package dev

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

// developmentDocument is the policy of a development deployment, for the persons
// and services of a test's.
func developmentDocument(t *testing.T, d *deploymenttest.Deployment) *document.Active {
	t.Helper()
	plain := d.Document()
	m := made{
		genesis: d.Genesis, id: d.ID, user: d.UserKey, voter: d.ApproverKey,
		certificate: message.Sum(nil).String(),
	}
	doc, err := developmentPolicy(m, plain.Services)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	active, err := document.VerifyBundle(d.Sign(raw, d.Admins[:d.Genesis.Threshold]...), d.Genesis, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	return active
}

// TestDevelopmentPolicyIsAnExample: nothing in it is what a policy should not
// have, though it lets the user do everything that is granted.
func TestDevelopmentPolicyIsAnExample(t *testing.T) {
	active := developmentDocument(t, deploymenttest.New(t))
	for _, w := range rules.Check(active.Document, active.Files()) {
		t.Errorf("%+v", w)
	}
}

// TestDevelopmentPolicy holds what the documentation says of it.
func TestDevelopmentPolicy(t *testing.T) {
	const ten18 = "000000000000000000"
	d := deploymenttest.New(t)
	active := developmentDocument(t, d)
	records := d.Records()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	token := func(to, amount string) deploymenttest.Transfer {
		n, ok := new(big.Int).SetString(amount, 10)
		if !ok {
			t.Fatal(amount)
		}
		return deploymenttest.Transfer{
			To: "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", Value: "0",
			Data: fmt.Sprintf("0xa9059cbb%064s%064x", to, n),
		}
	}
	const recipient, dead = "00000000000000000000000000000000000000aa", "000000000000000000000000000000000000dead"
	for name, tt := range map[string]struct {
		call            deploymenttest.Transfer
		fraud, approval rules.Verdict
	}{
		"small":              {deploymenttest.Transfer{To: "0x" + recipient, Value: "1"}, rules.Allow, rules.Allow},
		"ask/ether":          {deploymenttest.Transfer{To: "0x" + recipient, Value: "1" + ten18}, rules.Allow, rules.Ask}, // and the fee
		"fail/ether":         {deploymenttest.Transfer{To: "0x" + recipient, Value: "10" + ten18}, rules.Deny, rules.Ask},
		"fail/denied":        {deploymenttest.Transfer{To: "0x" + dead, Value: "1"}, rules.Deny, rules.Allow},
		"token":              {token(recipient, "1000000000"), rules.Allow, rules.Allow},
		"ask/token":          {token(recipient, "1000000001"), rules.Allow, rules.Ask},
		"fail/token":         {token(recipient, "10000000001"), rules.Deny, rules.Ask},
		"fail/token-denied":  {token(dead, "1"), rules.Deny, rules.Allow},
		"fail/unknown-call":  {deploymenttest.Transfer{To: "0x" + recipient, Value: "0", Data: "0x12345678"}, rules.Deny, rules.Deny},
		"fail/unknown-token": {deploymenttest.Transfer{To: "0x" + recipient, Value: "0", Data: token(recipient, "1").Data}, rules.Deny, rules.Allow},
	} {
		t.Run(name, func(t *testing.T) {
			in := judge.Input{
				Meaning:  d.Interpret(records, d.Ask(message.KindEthereumTransaction, wallet, account, tt.call.Payload(), now)),
				User:     active.Users[0],
				Envelope: message.Sum([]byte(name)), Now: now,
			}
			for role, want := range map[string]rules.Verdict{
				message.RoleAuthorization: rules.Allow, message.RoleFraud: tt.fraud, message.RoleApproval: tt.approval,
			} {
				if name == "fail/unknown-call" && role == message.RoleAuthorization {
					want = rules.Deny
				}
				out, err := judge.New(role, nil).Explain(t.Context(), active, in)
				if err != nil || out.Verdict != want {
					t.Errorf("%s: got %s because of %+v (%v), want %s", role, out.Verdict, out.Reasons, err, want)
				}
			}
		})
	}
}
