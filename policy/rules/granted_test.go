package rules_test

import (
	"slices"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// TestCheckGrants: a kind that somebody may ask for, and that a role denies to all,
// is told once for each such role.
func TestCheckGrants(t *testing.T) {
	every := []document.Rule{{ID: "all", Effect: document.EffectAllow, When: `user.id == "ada"`}}
	some := []document.Rule{{ID: "some", Effect: document.EffectAllow, When: `user.id == "ada"`, Kinds: []message.Kind{message.KindWalletCreate}}}
	doc := &document.Document{
		Users: []document.User{{ID: "ada"}},
		Rules: document.Rules{Authorization: every, Fraud: some, Approval: every},
		Grants: []document.Grant{
			{Kinds: []message.Kind{message.KindWalletCreate, message.KindPolicyUpdate}},
			{Kinds: []message.Kind{message.KindPolicyUpdate}},
		},
	}
	var got []string
	for _, w := range rules.Check(doc, nil) {
		got = append(got, w.Role+" "+w.Code)
	}
	if want := []string{"fraud granted_in_vain"}; !slices.Equal(got, want) {
		t.Errorf("warnings %v, want %v", got, want)
	}
}
