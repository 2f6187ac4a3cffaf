package trial_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// treasury is the treasury template, with one case.
func treasury(t *testing.T, one string) (*document.Document, map[string]*document.ListFile, *trial.Cases) {
	t.Helper()
	doc, files, _ := template(t, "../../deploy/policies/treasury")
	cases, err := trial.ParseCases([]byte("cases:\n- " + strings.ReplaceAll(strings.TrimSpace(one), "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	return doc, files, cases
}

// TestParseCasesRefuses: a case that is not understood to the last key tests
// nothing.
func TestParseCasesRefuses(t *testing.T) {
	const good = `
name: a payment
at: 2027-03-02T09:30:00Z
user: tom
transaction: {to: "0x1111111111111111111111111111111111111111"}
expect: {verdict: allow}`
	for name, c := range map[string]struct{ old, new, want string }{
		"fail/unknown-key":           {"user: tom", "usr: tom", "usr"},
		"fail/key-twice":             {"user: tom", "user: tom\nuser: tina", "already defined"},
		"fail/no-name":               {"name: a payment", "name: ''", "name"},
		"fail/no-time":               {"at: 2027-03-02T09:30:00Z\n", "", "at is missing"},
		"fail/other-zone":            {"09:30:00Z", "09:30:00+01:00", "RFC 3339"},
		"fail/no-user":               {"user: tom\n", "", "user is missing"},
		"fail/nothing-asked":         {"transaction: {to: \"0x1111111111111111111111111111111111111111\"}\n", "", "is missing"},
		"fail/two-things":            {"user: tom", "user: tom\nmessage: hello", "only one"},
		"fail/kind-of-something":     {"user: tom", "user: tom\nkind: ethereum.message", "does not fit"},
		"fail/wallet-with-payment":   {"user: tom", "user: tom\nkind: wallet.create", "only one"},
		"fail/two-kinds-of-fees":     {`transaction: {`, `transaction: {gas_price: 1 gwei, max_fee: 1 gwei, `, "another type"},
		"fail/no-such-verdict":       {"verdict: allow", "verdict: approve", `"approve" is none of`},
		"fail/no-such-role":          {"verdict: allow", "verdict: allow, role: signing", `"signing" is none of`},
		"fail/approvers-of-no-rule":  {"verdict: allow", "verdict: ask, quorum: 1", "name it"},
		"fail/history-of-the-future": {"user: tom", "user: tom\nhistory: [{ago: -1h, message: hello}]", "above 0"},
		"fail/history-out-of-order":  {"user: tom", "user: tom\nhistory: [{ago: 1h, message: a}, {ago: 2h, message: b}]", "oldest"},
		"fail/history-of-no-times":   {"user: tom", "user: tom\nhistory: [{ago: 1h, times: 0, message: a}]", "times must be 1 or more"},
		"fail/times-below-zero":      {"user: tom", "user: tom\nhistory: [{ago: 1h, times: -3, message: a}]", "times must be 1 or more"},
		"fail/times-cut":             {"user: tom", "user: tom\nhistory: [{ago: 1h, times: 1.5, message: a}]", `times is "1.5", want a whole number`},
		"fail/times-octal":           {"user: tom", "user: tom\nhistory: [{ago: 1h, times: 010, message: a}]", `times is "010", want a whole number`},
		"fail/times-hexadecimal":     {"user: tom", "user: tom\nhistory: [{ago: 1h, times: 0x10, message: a}]", `times is "0x10", want a whole number`},
		"fail/nonce-octal":           {"transaction: {", "transaction: {nonce: 010, ", `nonce is "010", want a whole number`},
		"fail/gas-exponent":          {"transaction: {", "transaction: {gas_limit: 1e5, ", `gas_limit is "1e5", want a whole number`},
		"fail/history-of-nothing":    {"user: tom", "user: tom\nhistory: [{ago: 1h}]", "history 1"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case changes nothing")
			}
			_, err := trial.ParseCases([]byte("cases:\n- " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")))
			if !errors.Is(err, trial.ErrCases) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for name, text := range map[string]string{"fail/empty": "cases: []", "fail/two-documents": "cases: []\n---\ncases: []", "fail/no-yaml": "{"} {
		if _, err := trial.ParseCases([]byte(text)); !errors.Is(err, trial.ErrCases) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestCaseCannotBeTried: what a case asks for must be something.
func TestCaseCannotBeTried(t *testing.T) {
	for name, c := range map[string]struct{ transaction, want string }{
		"fail/no-such-asset":          {"pay: {to: acme, amount: 1 dollar}", `no asset "dollar"`},
		"fail/below-a-unit":           {"pay: {to: acme, amount: 0.0000001 usdc}", "whole number"},
		"fail/negative":               {"pay: {to: acme, amount: -1 usdc}", "whole number"},
		"fail/above-2^256":            {"pay: {to: acme, amount: 1" + strings.Repeat("0", 78) + " usdc}", "2^256"},
		"fail/no-such-receiver":       {"pay: {to: ACME, amount: 1 usdc}", `"ACME" is no address`},
		"fail/label-of-another-chain": {"{to: acme}\naccount: {chain: \"eip155:10\"}", `"acme" is no address`},
		"fail/pay-and-to":             {"{pay: {to: acme, amount: 1 usdc}, to: acme}", "stands alone"},
		"fail/pay-and-approve":        {"{pay: {to: acme, amount: 1 usdc}, approve: {to: acme, amount: 1 usdc}}", "stands alone"},
		"fail/approve-ether":          {"approve: {to: acme, amount: 1 eth}", "can move"},
		"fail/false-checksum":         {`to: "0xD8DA6BF26964aF9D7eEd9e03E53415D37aA96045"`, "checksum"},
		"fail/too-little-gas":         {"{to: acme, gas_limit: 20000}", "gas"},
	} {
		t.Run(name, func(t *testing.T) {
			transaction := c.transaction
			if !strings.HasPrefix(transaction, "{") {
				transaction = "{" + transaction + "}"
			}
			doc, files, cases := treasury(t, fmt.Sprintf(
				"name: x\nat: 2027-03-02T09:30:00Z\nuser: tom\ntransaction: %s\nexpect: {verdict: allow}", transaction))
			o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
			if o.Passed || !strings.Contains(strings.Join(o.Faults, "; "), c.want) {
				t.Errorf("got %v, want %q", o.Faults, c.want)
			}
		})
	}
}

// TestExpectation: each part of what is expected can fail.
func TestExpectation(t *testing.T) {
	const asked = `
name: x
at: 2027-03-02T09:30:00Z
user: tom
transaction: {pay: {to: acme, amount: 20000 usdc}}
expect: {verdict: ask, role: approval, rule: four-eyes, reasons: [rule_asks, signal_first_use], approvers: [treasurers], quorum: 1}`
	for name, c := range map[string]struct{ old, new, want string }{
		"pass":                {"", "", ""},
		"fail/verdict":        {"verdict: ask", "verdict: allow", "the verdict is ask, not allow"},
		"fail/role":           {"role: approval, rule: four-eyes", "role: fraud, rule: four-eyes", "fraud says allow, not ask"},
		"fail/rule":           {"rule: four-eyes", "rule: highest", "rule highest does not decide; it is approval/four-eyes, approval/first-use"},
		"fail/rule-of-others": {"role: approval, rule: four-eyes", "rule: known-assets", "rule known-assets does not decide"},
		"fail/reason":         {"rule_asks,", "rule_denies,", "rule_denies is not among the reasons"},
		"fail/approvers":      {"[treasurers]", "[executives]", "rule four-eyes asks treasurers, not executives"},
		"fail/quorum":         {"quorum: 1", "quorum: 2", "rule four-eyes asks 1 persons, not 2"},
		"fail/asks-nobody":    {"rule: four-eyes", "rule: small-to-suppliers", "asks nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, files, cases := treasury(t, strings.Replace(asked, c.old, c.new, 1))
			o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
			if o.Passed != (c.want == "") || !strings.Contains(strings.Join(o.Faults, "; "), c.want) {
				t.Errorf("passed %v with %v, want %q", o.Passed, o.Faults, c.want)
			}
		})
	}
}

// TestUserOfNoDocument: a misspelled user tests nothing, for whoever is unknown is
// denied.
func TestUserOfNoDocument(t *testing.T) {
	const history = "history: [{ago: 1h, user: tmo, transaction: {pay: {to: acme, amount: 1 usdc}}}]\n"
	for name, c := range map[string]struct{ user, history, expect, want string }{
		"pass":                     {"tom", "", "verdict: ask", ""},
		"pass/meant":               {"tmo", "", "verdict: deny, reasons: [unknown_key]", ""},
		"fail/deny":                {"tmo", "", "verdict: deny", `the document has no user "tmo"; a case about a stranger expects reasons: [unknown_key]`},
		"fail/deny-by-reason":      {"tmo", "", "verdict: deny, reasons: [rule_denies]", `no user "tmo"`},
		"fail/history":             {"tom", history, "verdict: ask", `history 1: the document has no user "tmo"`},
		"fail/history-of-stranger": {"tmo", history, "verdict: deny, reasons: [unknown_key]", `history 1: the document has no user "tmo"`},
	} {
		t.Run(name, func(t *testing.T) {
			doc, files, cases := treasury(t, "name: x\nat: 2027-03-02T09:30:00Z\nuser: "+c.user+"\n"+c.history+
				"transaction: {pay: {to: acme, amount: 5000 usdc}}\nexpect: {"+c.expect+"}")
			o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
			if o.Passed != (c.want == "") || !strings.Contains(strings.Join(o.Faults, "; "), c.want) {
				t.Errorf("passed %v with %v, want %q", o.Passed, o.Faults, c.want)
			}
		})
	}
}

// TestTypedData: a case gives typed data as wallets do, and rules see what a
// permit allows.
func TestTypedData(t *testing.T) {
	doc, files, cases := treasury(t, `
name: a permit
at: 2027-03-02T09:30:00Z
user: tom
typed_data: |
  {"types": {
    "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"},
      {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
    "Permit": [{"name": "owner", "type": "address"}, {"name": "spender", "type": "address"},
      {"name": "value", "type": "uint256"}, {"name": "nonce", "type": "uint256"}, {"name": "deadline", "type": "uint256"}]},
   "primaryType": "Permit",
   "domain": {"name": "USD Coin", "version": "2", "chainId": "1", "verifyingContract": "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"},
   "message": {"owner": "0x5555555555555555555555555555555555555555", "spender": "0x1111111111111111111111111111111111111111",
     "value": "5", "nonce": "0", "deadline": "1900000000"}}
expect: {verdict: deny, reasons: [not_granted]}`)
	o := trial.Run(t.Context(), doc, files, cases, cases.Cases[0])
	if !o.Passed {
		t.Fatalf("as the template is: %v", o.Faults)
	}
	doc.Grants[0].Kinds = append(doc.Grants[0].Kinds, "ethereum.typed-data")
	_, filing, err := trial.Decide(t.Context(), doc, files, cases, cases.Cases[0])
	if err != nil || len(filing.Meaning.Effects.Allowances) != 1 {
		t.Errorf("%v, %+v: want one allowance", err, filing.Meaning.Effects)
	}
}

// TestCheckTellsEveryFault: all faults of a document at once, each with its
// place.
func TestCheckTellsEveryFault(t *testing.T) {
	doc, files, _ := template(t, "../../deploy/policies/treasury")
	doc.Grants[0].Users = []string{"nobody"}
	doc.Rules.Fraud[0].When = `tx.amounts.all(a, a.asset == 7)`
	doc.Rules.Approval[0].When = `size(`
	report := trial.Check(doc, nil, trial.Deployment{}, doc.Expires.Time)
	var text []string
	for _, fault := range report.Faults {
		text = append(text, fault.Error())
	}
	for _, want := range []string{
		`no user "nobody"`, `rule "known-assets": line 1`, `rule "small-to-suppliers": line 1`, `list "sanctions"`, "expired at 2027-11-30",
	} {
		if !strings.Contains(strings.Join(text, "\n"), want) {
			t.Errorf("%q is not among %q", want, text)
		}
	}
	if len(text) < 5 {
		t.Errorf("faults are not told one by one: %q", text)
	}
	if len(files) != 1 {
		t.Errorf("%d files", len(files))
	}
}

// TestLegacyTransaction: a gas price makes a legacy transaction.
func TestLegacyTransaction(t *testing.T) {
	for fees, form := range map[string]string{"gas_price: 20 gwei": "legacy", "max_fee: 20 gwei, max_priority_fee: 0": "eip1559", "nonce: 3": "eip1559"} {
		doc, files, cases := treasury(t, "name: x\nat: 2027-03-02T09:30:00Z\nuser: tom\n"+
			"transaction: {to: acme, value: 1.5 eth, "+fees+"}\nexpect: {verdict: ask}")
		_, f, err := trial.Decide(t.Context(), doc, files, cases, cases.Cases[0])
		if err != nil {
			t.Fatal(err)
		}
		e := f.Meaning.Effects
		if e.Details.Form != form || e.Moves[0].Amount.String() != "1500000000000000000" {
			t.Errorf("%s: %s of %s", fees, e.Details.Form, e.Moves[0].Amount)
		}
	}
}
