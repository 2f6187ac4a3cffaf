package rules_test

import (
	"slices"
	"strings"
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

// TestAllowsEverything: rules that let through whatever they are about, though they
// name kinds.
func TestAllowsEverything(t *testing.T) {
	all := []message.Kind{message.KindEthereumTransaction, message.KindWalletCreate}
	rule := func(unknown bool, when string, kinds ...message.Kind) document.Rule {
		return document.Rule{ID: "r", Effect: document.EffectAllow, When: when, Kinds: kinds, UnknownCalls: unknown}
	}
	other := rule(false, "true", message.KindWalletCreate)
	other.ID = "s"
	stop := document.Rule{ID: "s", Effect: document.EffectDeny, When: `user.id == "eve"`}
	for name, c := range map[string]struct {
		rules []document.Rule
		role  string // where it is warned of, the role and the rule
	}{
		"unknown calls":          {[]document.Rule{rule(true, "true", all...), stop}, "fraud/r"},
		"unknown calls of none":  {[]document.Rule{rule(true, "true", message.KindWalletCreate), stop}, "-"},
		"all that is granted":    {[]document.Rule{rule(false, "true", all...)}, "/"},
		"by two rules":           {[]document.Rule{rule(false, "true", message.KindEthereumTransaction), other}, "/"},
		"not all":                {[]document.Rule{rule(false, "true", message.KindEthereumTransaction)}, "-"},
		"with a condition":       {[]document.Rule{rule(false, `user.id == "ada"`, all...)}, "-"},
		"where something denies": {[]document.Rule{rule(false, "true", all...), stop}, "-"},
	} {
		doc := &document.Document{
			Users:  []document.User{{ID: "ada"}, {ID: "eve"}},
			Grants: []document.Grant{{Users: []string{"ada"}, Kinds: all}},
			Rules:  document.Rules{Authorization: []document.Rule{rule(false, "true", all...)}, Fraud: c.rules, Approval: []document.Rule{rule(false, "true", all...)}},
		}
		var got []string
		for _, w := range rules.Check(doc, nil) {
			if w.Code == rules.WarnAllowsAll {
				got = append(got, w.Role+"/"+w.Rule)
			}
		}
		if len(got) == 0 {
			got = []string{"-"}
		}
		if !slices.Equal(got, []string{c.role}) {
			t.Errorf("%s: %q, want %q", name, got, c.role)
		}
	}
}

// TestGroupWithoutUsers: to look for a user in a group of approvers finds nobody.
func TestGroupWithoutUsers(t *testing.T) {
	for when, want := range map[string]bool{
		`member("signers", user.id)`: true, `!member("signers", wallet.owner)`: true, `"signers" in user.groups`: true,
		`member("treasury", user.id) && "treasury" in user.groups`: false, `member("signers", "bob")`: false,
	} {
		doc := documentOf(of("a", deny(when)))
		doc.Approvers = []document.Approver{{ID: "bob"}}
		doc.Groups = append(doc.Groups, document.Group{ID: "signers", Members: []string{"bob"}})
		warned := slices.ContainsFunc(rules.Check(doc, nil), func(w rules.Warning) bool {
			return w.Code == rules.WarnUnknown && strings.Contains(w.Detail, `no user is in group "signers"`)
		})
		if warned != want {
			t.Errorf("%s: warned %v", when, warned)
		}
	}
}
