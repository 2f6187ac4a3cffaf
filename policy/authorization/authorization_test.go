package authorization_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/policy/document"
)

// The ways in which a signature or a grant can fail are tested in package
// document; here, that the decider asks for both.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := deploymenttest.New(t)
	records := d.Records()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	env := d.Ask(message.KindEthereumMessage, wallet, account, map[string]string{"text": "hello"}, now)
	request := policy.Request{Envelope: env, Meaning: d.Interpret(records, env), Now: now}

	for name, tt := range map[string]struct {
		edit func(*document.Document)
		key  bool
		code string
	}{
		"ok":                 {nil, true, ""},
		"fail/not-granted":   {func(x *document.Document) { x.Grants = nil }, true, document.CodeNotGranted},
		"fail/key-of-nobody": {nil, false, document.CodeUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			r := request
			r.Policy = d.Active(tt.edit)
			if !tt.key {
				r.Envelope = d.Envelope(env.Statement, deploymenttest.Key(t), now)
			}
			got, err := authorization.New().Decide(context.Background(), r)
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
