package rules_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// TestPartsThatNeverMatch: parts of accounts, assets and selectors in a form that
// there is not, and literals that a loop or a map brings.
func TestPartsThatNeverMatch(t *testing.T) {
	for when, want := range map[string]string{
		`tx.to.endsWith("dEaD")`:                            `"dEaD" never matches: accounts, assets and selectors are in lower case`,
		`tx.to.contains("dEaD")`:                            "are in lower case",
		`tx.to.startsWith("eip155:1:0xAb")`:                 "are in lower case",
		`["dead", "dEaD"].exists(p, tx.to.endsWith(p))`:     "are in lower case",
		`tx.moves.exists(m, m.asset.contains("ERC20"))`:     "are in lower case",
		`tx.selector.contains("A9")`:                        "are in lower case",
		`tx.selector.startsWith("a9")`:                      "a selector begins with 0x",
		`tx.to.matches("dEaD$")`:                            "asks for a capital",
		`matches(tx.to, "dEaD$")`:                           "asks for a capital",
		`tx.to.matches("0x[A-F0-9]+")`:                      "asks for a capital",
		`tx.to.matches("(dead|DEAD)$")`:                     "asks for a capital",
		`tx.to.matches("^0x55")`:                            "begin with their chain",
		`tx.destinations.exists(d, d.matches("^(0x55|0)"))`: "begin with their chain",
		`tx.moves.exists(m, m.asset.matches("(?i)^0x55"))`:  "begin with their chain",
		`account.address.startsWith("0x")`:                  "begin with their chain",
		`["` + bare + `"].exists(a, a == tx.to)`:            "never matches: accounts are CAIP-10",
		`[["` + bare + `"]].exists(l, l.exists(a, a == tx.to)) || ["` + bare + `"].exists(a, a == tx.from)`: "never matches: accounts are CAIP-10",
		`["x"].exists(a, a == user.id) || ["` + bare + `"].exists(a, a == tx.to)`:                           "never matches: accounts are CAIP-10",
		`tx.to in {"` + bare + `": 1}`:                                           "never matches: accounts are CAIP-10",
		`{"` + bare + `": 1}.exists(a, a == tx.to)`:                              "never matches: accounts are CAIP-10",
		`tx.to == (tx.nonce > 5u ? "` + bare + `" : tx.from)`:                    "never matches: accounts are CAIP-10",
		`tx.to in ["` + bob + `"] + ["` + bare + `"]`:                            "never matches: accounts are CAIP-10",
		`typed.contract == "` + bare + `"`:                                       "alone is a contract of a domain without a chain",
		`typed.contract in ["` + bare + `", "` + bob + `"]`:                      "alone is a contract of a domain without a chain",
		`typed.contract == "` + bare + `" && tx.from == "eip155:1:` + bare + `"`: "alone is a contract of a domain without a chain",
		`typed.contract == "usdc"`:                                               "never matches: accounts are CAIP-10",
		`asset("usdc") == "usdc"`:                                                "assets are CAIP-19",
		`now.getHours("Europe/Zurich") >= 24`:                                    "it is always the same beside 24: getHours is 0 to 23",
		`now.getHours() > 23`:                                                    "it is always the same beside 23",
		`now.getHours() < 0`:                                                     "it is always the same beside 0",
		`23 < now.getHours()`:                                                    "it is always the same",
		`24 <= now.getHours()`:                                                   "it is always the same",
		`now.getHours() > -2`:                                                    "it is always the same beside -2",
		`now.getHours() > 6 && now.getHours() <= 24`:                             "it is always the same beside 24",
		`now.getDayOfWeek("Europe/Zurich") <= 7`:                                 "it is always the same beside 7: getDayOfWeek is 0 to 6",
		`7 <= now.getDayOfWeek("Europe/Zurich")`:                                 "it is always the same beside 7",
		`0 > now.getHours()`:                                                     "it is always the same beside 0",
		`now.getDate() < 1`:                                                      "it is always the same beside 1: getDate is 1 to 31",
		`(tx.value > 5 ? tx.to : tx.from) == "` + bare + `"`:                     "never matches: accounts are CAIP-10",
		`(tx.value > 5 ? tx.to : (tx.value > 3 ? tx.from : tx.to)) == "none"`:    "never matches: accounts are CAIP-10",
		`tx.value > amount(-1)`:                                                  "-1 is no amount: amounts are not below zero",
	} {
		faulty(t, when, want)
	}
	for _, when := range []string{
		`tx.to.endsWith("dead") && tx.to.contains("0x55") && tx.to.startsWith("eip155:1:0x") && tx.selector.startsWith("0xa9")`,
		`tx.to.matches("^eip155:[0-9]+:0x[0-9a-fA-F]{40}$") && tx.to.matches("(?i)DEAD$") && tx.to.matches("\\W0x[^1]") && tx.from.matches("0x5")`,
		`tx.message.contains("Login") && request.id.matches("^0X") && user.id.startsWith("A")`,
		`["x"].exists(a, a == tx.message) && ["` + bob + `"].exists(a, a == tx.to)`,
		`typed.contract in ["` + bare + `", "eip155:1:` + bare + `"] || typed.contract.startsWith("0x") || typed.contract == ""`,
		`now.getHours() >= 23 && now.getHours() > 0 && now.getHours() < 1 && now.getHours() <= 22 && 1 <= now.getHours() && 22 < now.getHours() && 0 < now.getHours() && 23 <= now.getHours()`,
		`0 <= now.getHours() || now.getHours() <= 23 || 7 > now.getDayOfWeek("Europe/Zurich")`,
		`typed.contract == "` + bare + `" || typed.contract == "eip155:1:` + bare + `"`,
		`typed.contract != "eip155:1:` + bare + `" && !(typed.contract in ["` + bare + `"])`,
		`now.getDate("Europe/Zurich") >= 25 && now.getDate("Europe/Zurich") <= 31`,
		`now.getHours("Europe/Zurich") >= 0 && now.getHours("Europe/Zurich") < 6`,
		`now.getHours() >= 18 && now.getHours() < 24 || 18 <= now.getHours() && 24 > now.getHours()`,
		`now.getMonth() >= 9 && now.getMonth() <= 11 || now.getDate() >= 1 && now.getDate() <= 7`,
		`now.getDayOfWeek() >= 4 && now.getDayOfWeek() <= 6`,
		`(tx.to != "" ? tx.to : "none") == "none" || (tx.to == "" ? "none" : tx.to) == "none"`,
	} {
		fine(t, when)
	}
}

// TestListsFromFiles: a file has neither labels nor dates, so that who asks for them
// is told so.
func TestListsFromFiles(t *testing.T) {
	for when, want := range map[string]string{
		`labelled("sanctions", tx.to) == "x"`:                      `list "sanctions" is a file: it has no labels and no`,
		`entry_age("sanctions", tx.to) > duration("24h")`:          `list "sanctions" is a file`,
		`listed("sanctions", tx.to) || signal.listed("sanctions")`: "",
	} {
		doc := documentOf(deny(when))
		doc.Lists = append(doc.Lists, document.List{ID: "sanctions", File: &document.File{SHA256: strings.Repeat("a", 64), Entries: 1}})
		_, err := rules.Compile(doc, "approval", noFiles{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", when, err)
		}
	}
}

type noFiles struct{}

func (noFiles) Has(string, string) bool { return false }

// TestOneCallTwice: of two declarations of one function for one contract only one
// could be read, and a rule about the other's names would find nothing.
func TestOneCallTwice(t *testing.T) {
	for name, c := range map[string]struct {
		calls []document.Call
		want  string
	}{
		"other names": {[]document.Call{{Function: "move(address to)"}, {Function: "move(address receiver)"}},
			`calls: entry 2 ("move(address receiver)"): an entry above declares move(address) for the same contract`},
		"another case": {[]document.Call{{Contract: bob, Function: "move(address to)"}, {Contract: "eip155:1:0x" + strings.ToUpper(bob[11:]), Function: "move(address a)"}}, "calls: entry 2"},
		"one contract": {[]document.Call{{Function: "move(address to)"}, {Contract: bob, Function: "move(address receiver)"}}, ""},
		"other types":  {[]document.Call{{Function: "move(address to)"}, {Function: "move(uint256 to)"}}, ""},
	} {
		doc := documentOf(deny("true"))
		doc.Calls = c.calls
		_, err := rules.Compile(doc, "approval", nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
