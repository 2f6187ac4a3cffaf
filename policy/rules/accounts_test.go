package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// order is typed data that names addresses.
func order(message string) rules.Facts {
	f := permit()
	f.Meaning.Effects.Details.Typed.Message = []byte(message)
	return f
}

// TestAttackAddressesWithoutAChain: an address of typed data or of a call's arguments
// stands in no list and no past as it is. A rule that asks for it fails; with
// account(...) it finds it.
func TestAttackAddressesWithoutAChain(t *testing.T) {
	const address = "0xb0b0000000000000000000000000000000000b0b"
	taker := order(`{"taker":"` + address + `","path":["` + address + `"],"number":"5","named":"` + bob + `","other":"eip155:10:` + address + `","twice":"eip155:1:` + bob + `","mixed":"0xB0b0000000000000000000000000000000000B0B"}`)
	history := &fakeHistory{sums: map[string]int64{"destination/" + bob + "/" + eth: 44}, counts: map[string]int{"destination/" + bob + "/": 6}}
	taker.History = history
	chainless := permit()
	chainless.Meaning.Effects.Details.Typed.Contract = usdcContract[9:]
	for when, want := range map[string]string{
		`listed("partners", account(typed.message.taker))`:                                         "true",
		`typed.message.path.exists(p, listed("partners", account(p)))`:                             "true",
		`labelled("partners", account(typed.message.taker)) == "Bob"`:                              "true",
		`history.sum_to(account(typed.message.taker), asset("eth"), duration("1h")) == amount(44)`: "true",
		`history.count_to(account(typed.message.taker), duration("1h")) == 6`:                      "true",
		`account(typed.message.taker) == "` + bob + `"`:                                            "true",
		`account("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359") == "` + bob + `"`:                   "false",
		`listed("partners", string(typed.message.named))`:                                          "true",
		`listed("partners", "")`:                                                                 "false",
		`!listed("partners", string(typed.message.taker))`:                                       "error: listed: \"" + address + "\" is not an account",
		`labelled("partners", string(typed.message.taker)) == ""`:                                "error: labelled: ",
		`entry_age("partners", string(typed.message.taker)) > duration("1h")`:                    "error: entry_age: ",
		`history.sum_to(string(typed.message.taker), asset("eth"), duration("1h")) == amount(0)`: "error: history.sum_to: ",
		`history.count_to(string(typed.message.taker), duration("1h")) == 0`:                     "error: history.count_to: ",
		`amount_of(string(typed.message.taker)) == amount(0)`:                                    "error: amount_of: ",
		`history.sum("wallet", string(typed.message.taker), duration("1h")) == amount(0)`:        "error: history.sum: ",
		`["eip155:1:0x5", "x:y:z"].exists(a, listed("partners", a + ""))`:                        "error: listed: \"eip155:1:0x5\"",
		`listed("partners", {"a": 5, "b": "x"}["a"])`:                                            "error: no such overload",
		`member("treasury", {"a": 5, "b": "x"}["a"])`:                                            "error: no such overload",
		`account(string(typed.message.number)) == ""`:                                            "error: account: \"5\"",
		`account(string(typed.message.named)) == "` + bob + `"`:                                  "true",
		`account(string(typed.message.other)) == ""`:                                             "error: account: \"eip155:10:0xb0b",
		`account(string(typed.message.twice)) == ""`:                                             "error: account: ",
		`account(typed.contract) == typed.contract`:                                              "true",
		`account(typed.contract) == "` + usdcContract + `"`:                                      "true",
		`account(string(typed.message.mixed)) == ""`:                                             "error: account: ",
		`account("0x" + "B0B0000000000000000000000000000000000B0B") == ""`:                       "error: account: ",
	} {
		if got := value(t, taker, when); !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got %s\nwant %s", when, got, want)
		}
	}
	if got := value(t, chainless, `account(typed.contract) == "`+usdcContract+`"`); got != "true" {
		t.Errorf("the account of a domain without a chain: %s", got)
	}
	if got := value(t, chainless, `listed("partners", typed.contract)`); !strings.HasPrefix(got, "error: listed: ") {
		t.Errorf("a domain without a chain: %s", got)
	}
	if got := value(t, creation(), `account("`+address+`") == ""`); got != "error: the request has no tx.chain" {
		t.Errorf("a request that is not signed: %s", got)
	}
}

// TestAddressesWithoutAChainAtLoad: what is known to have no chain, or to be no
// account at all, is found when the document is loaded.
func TestAddressesWithoutAChainAtLoad(t *testing.T) {
	for when, want := range map[string]string{
		`!listed("partners", typed.message.taker)`:                                       "write account(...) around it",
		`typed.message.path.exists(p, listed("partners", p))`:                            "write account(...) around it",
		`typed.message.path.filter(p, p != "").exists(p, listed("partners", p))`:         "write account(...) around it",
		`labelled("partners", typed.message["taker"]) == ""`:                             "write account(...) around it",
		`history.count_to(typed.message.inner.taker, duration("1h")) > 1`:                "write account(...) around it",
		`tx.calls.exists(c, listed("partners", c.args.to))`:                              "write account(...) around it",
		`tx.calls.exists(c, c.args.path.exists(p, listed("partners", p)))`:               "write account(...) around it",
		`tx.calls.exists(c, c.args.steps.exists(s, listed("partners", s.target)))`:       "write account(...) around it",
		`amount_of(typed.message.token) > 1`:                                             "an address in typed.message and args is none",
		`tx.calls.exists(c, history.sum("user", c.args.to, duration("1h")) > amount(5))`: "an address in typed.message and args is none",
		`listed("partners", user.id)`:                                                    "account must be an account",
		`listed("partners", tx.chain)`:                                                   "account must be an account",
		`amount_of(tx.to) > 1`:                                                           "asset must be an asset",
		`account(tx.to) == ""`:                                                           "address must be an address without its chain",
		`account("` + bob + `") == ""`:                                                   "account: ",
		`account("0xB0b0000000000000000000000000000000000b0b") == ""`:                    "EIP-55",
		`["` + bare + `"].exists(a, listed("partners", a))`:                              "never matches: accounts are CAIP-10",
	} {
		faulty(t, when, want)
	}
}

// TestWarningsOfAddresses: an error over what is no address can be passed over; an
// argument that is declared as an address is none of those.
func TestWarningsOfAddresses(t *testing.T) {
	for when, want := range map[string]bool{
		`listed("partners", account(typed.message.taker)) || user.id == "ada"`:             true,
		`listed("partners", typed.contract) || user.id == "ada"`:                           true,
		`tx.calls.exists(c, has(c.args.to) && listed("partners", account(c.args.to)))`:     false,
		`tx.calls.exists(c, has(c.args.note) && listed("partners", account(c.args.note)))`: true,
	} {
		rule := deny(when)
		rule.Kinds = []message.Kind{message.KindEthereumTypedData}
		warned := slices.ContainsFunc(rules.Check(withCalls(rule), nil), func(w rules.Warning) bool {
			return w.Code == rules.WarnAbsorbed && strings.Contains(w.Detail, " fails for what is no a")
		})
		if warned != want {
			t.Errorf("%s: warned %v", when, warned)
		}
	}
}

// faulty holds that a condition is refused at load.
func faulty(t *testing.T, when, want string) {
	t.Helper()
	_, err := rules.Compile(withCalls(allow(when)), "approval", nil)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s\n got %v\nwant %s", when, err, want)
	}
}

// fine holds that it is not.
func fine(t *testing.T, when string) {
	t.Helper()
	if _, err := rules.Compile(withCalls(allow(when)), "approval", nil); err != nil {
		t.Error(err)
	}
}

// withCalls is a document that knows arguments of all types.
func withCalls(list ...document.Rule) *document.Document {
	doc := documentOf(list...)
	doc.Calls = append(doc.Calls, document.Call{
		Function: "swap(uint256 amountIn, address[] path, bytes32 salt, bool exact, string note, (address target, uint256 amount)[] steps)",
	})
	return doc
}
