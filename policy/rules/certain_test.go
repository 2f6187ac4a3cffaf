package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// TestWhatFailsIsNotAlwaysTrue: a condition that fails for some request denies there, so
// that to write true instead would allow it.
func TestWhatFailsIsNotAlwaysTrue(t *testing.T) {
	either := func(condition string) string { return condition + " || !(" + condition + ")" }
	big := strings.Repeat(` * amount("0xffffffffffffffffffffffffffffffff")`, 4)
	for when, fails := range map[string]bool{
		`tx.nonce - 100u >= 0u`:                                                         true,
		`!(tx.nonce - 100u < 0u)`:                                                       true,
		`tx.nonce + 18446744073709551615u >= 0u`:                                        true,
		`tx.gas_limit * 9223372036854775807u >= 0u`:                                     true,
		`tx.value` + big + ` >= 0`:                                                      false,
		`(tx.value + amount(2))` + big + ` >= 0`:                                        true,
		either(`now - timestamp("0001-01-01T00:00:00Z") > duration("1h")`):              true,
		either(`-(now.getFullYear() - 9223372036854775807 - 1) > 5`):                    false,
		either(`member("treasury", dyn(5))`):                                            true,
		either(`tx.moves[9].amount > 5`):                                                true,
		either(`["eth"][tx.data_size] == "eth"`):                                        true,
		either(`{"a": 1}[user.id] == 1`):                                                true,
		either(`int(user.id) > 5`):                                                      true,
		either(`string(tx.selector) == "x" && timestamp(user.id) > now`):                false, // its left side settles it
		either(`double(user.id) > 5.0`):                                                 true,
		either(`listed("partners", labelled("partners", tx.to))`):                       false, // bob has no label
		either(`tx.moves.all(m, m.amount - 100 > 5)`):                                   true,
		either(`(tx.creates_contract ? true : tx.nonce - 100u > 0u)`):                   true,
		either(`tx.data_size / (tx.data_size - tx.data_size) > 5`):                      true,
		either(`uint(tx.data_size - 100000) > 5u`):                                      true,
		either(`user.id.matches(user.id + "(")`):                                        true,
		either(`(request.expires - now) + duration("2562047h") > duration("2562047h")`): true,
	} {
		rule := of("a", allow(when))
		for _, w := range warnings(rule) {
			if strings.HasPrefix(w, rules.WarnAlwaysTrue) || strings.HasPrefix(w, rules.WarnAllowsAll) || strings.HasPrefix(w, rules.WarnFaulty) {
				t.Errorf("%s: %s", when, w)
			}
		}
		if got := value(t, transfer(), when); strings.HasPrefix(got, "error") != fails {
			t.Errorf("%s: %s", when, got)
		}
	}
}

// TestWhatFailsDoesNotAllowEverything: rules that can fail do not let everything pass.
func TestWhatFailsDoesNotAllowEverything(t *testing.T) {
	for when, want := range map[string]bool{`tx.nonce >= 0u`: true, `tx.nonce - 5u >= 0u`: false} {
		list := []document.Rule{of("a", allow(when))}
		doc := documentOf()
		doc.Grants = []document.Grant{{Users: []string{"ada"}, Kinds: transactions}}
		doc.Rules = document.Rules{Authorization: list, Fraud: list, Approval: list}
		got := slices.ContainsFunc(rules.Check(doc, nil), func(w rules.Warning) bool {
			return w.Code == rules.WarnAllowsAll && w.Role == "" && w.Rule == ""
		})
		if got != want {
			t.Errorf("%s: warned %v", when, got)
		}
	}
}
