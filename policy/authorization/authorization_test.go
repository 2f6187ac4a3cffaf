package authorization_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// The ways in which a signature or a grant can fail are tested in package
// document, what rules can say in package rules; here, that the decider asks for
// all of it.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := deploymenttest.New(t)
	records := d.Records()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	env := d.Ask(message.KindEthereumMessage, wallet, account, map[string]string{"text": "hello"}, now)
	request := policy.Request{Envelope: env, Meaning: d.Interpret(records, env), Now: now}

	rule := func(effect document.Effect, when string) func(*document.Document) {
		return func(x *document.Document) {
			x.Rules.Authorization = append(x.Rules.Authorization, document.Rule{ID: "mine", Effect: effect, When: when})
		}
	}
	for name, tt := range map[string]struct {
		edit func(*document.Document)
		key  bool
		code string
	}{
		"ok":                 {nil, true, ""},
		"fail/not-granted":   {func(x *document.Document) { x.Grants = nil }, true, document.CodeNotGranted},
		"fail/key-of-nobody": {nil, false, document.CodeUnknownKey},
		"ok/other-rule":      {rule(document.EffectDeny, `user.id == "mallory"`), true, ""},
		"fail/denied":        {rule(document.EffectDeny, `user.id == "alice" && tx.message == "hello"`), true, rules.CodeDenies},
		"fail/rule-fails":    {rule(document.EffectDeny, `tx.nonce > 1u`), true, rules.CodeFailed},
		"fail/no-rule":       {func(x *document.Document) { x.Rules.Authorization = nil }, true, rules.CodeNoRule},
		"fail/not-granted-whatever-rules-say": {func(x *document.Document) {
			rule(document.EffectAllow, "true")(x)
			x.Grants = nil
		}, true, document.CodeNotGranted},
	} {
		t.Run(name, func(t *testing.T) {
			r := request
			r.Policy = d.Active(tt.edit)
			if !tt.key {
				r.Envelope = d.Envelope(env.Statement, deploymenttest.Key(t), now)
			}
			got, err := authorization.New(nil).Decide(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if tt.code == "" && got.Verdict == policy.Approve {
				return
			}
			if got.Verdict != policy.Reject || len(got.Reasons) != 1 || got.Reasons[0].Code != tt.code {
				t.Fatalf("got %+v, want %q", got, tt.code)
			}
		})
	}
}

// TestHistoryIsKeptWhereRulesLookAtIt, and only there.
func TestHistoryIsKeptWhereRulesLookAtIt(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := deploymenttest.New(t)
	records := d.Records()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	plain, counting := d.Active(nil), d.Active(func(x *document.Document) {
		x.Rules.Authorization[0].When = `history.count("user", duration("1h")) < 2`
	})
	decider := authorization.New(&clock.Watch{Now: func() time.Time { return now }})
	decide := func(active *document.Active) policy.Decision {
		t.Helper()
		env := d.Ask(message.KindEthereumMessage, wallet, account, map[string]string{"text": "hello"}, now)
		raw, err := message.Encode(env)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decider.Decide(t.Context(), policy.Request{
			Envelope: env, EnvelopeHash: message.Sum(raw), Meaning: d.Interpret(records, env), Policy: active, Now: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range 3 {
		if got := decide(plain); got.Verdict != policy.Approve || len(got.Records) != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	for range 2 {
		got := decide(counting)
		if got.Verdict != policy.Approve || len(got.Records) != 1 {
			t.Fatalf("got %+v", got)
		}
		if err := decider.Replay(got.Records[0]); err != nil {
			t.Fatal(err)
		}
	}
	if got := decide(counting); got.Verdict != policy.Reject || got.Reasons[0].Code != rules.CodeNoRule || len(got.Records) != 0 {
		t.Fatalf("got %+v", got)
	}
}
