package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

func TestFaultsAtLoad(t *testing.T) {
	for when, want := range map[string]string{
		``:                                  "the condition is empty",
		"  \n":                              "the condition is empty",
		`tx.value`:                          "the condition is amount, not true or false",
		`dyn(true)`:                         "the condition is dyn, not true or false",
		`1 +`:                               "line 1, column 4 of the condition: mismatched input 'end of the condition'",
		"true &&\n  tx.valeu > 1":           "line 2, column 5 of the condition: undeclared reference to 'tx.valeu' (did you mean 'tx.value'?)",
		`tx.moves.exists(m, m.too == "")`:   "line 1, column 21 of the condition: undefined field 'too'",
		`tx.moves.exists(m, m.amount == 5)`: "line 1, column 29 of the condition: == does not take (amount, int); amounts are counted with amounts, or with whole numbers on the right, and compared by == with amount(...)",
		`tx.value > 1.5`:                    "> does not take (amount, double); amounts are",
		`5 < tx.value`:                      "< does not take (int, amount)",
		`tx.nonce == 5`:                     "== does not take (uint, int); 3u is an unsigned number and 3 is not: write both sides alike",
		`tx.data_size > 3.5`:                "> does not take (int, double); 3.0 is a number with a point and 3 is not: write both sides alike",
		`tx.value > "5"`:                    "> does not take (amount, string)",
		`-tx.value < 1`:                     "does not take (amount)",
		`unheard(1)`:                        "undeclared reference to 'unheard'",
		`history.total("wallet")`:           "undeclared reference to",
		`Move{asset: "x"}.asset == "x"`:     "a rule cannot make a Move",
		`tx.to == "eip155:1:0xAb"`:          "never matches: accounts and assets of eip155 are in lower case",
		`tx.to == "EIP155:1:0xab"`:          "never matches",
		`amount("1.5") < tx.value`:          `"1.5" is no amount`,
		`amount("") < tx.value`:             `"" is no amount`,
		`amount("0x") < tx.value`:           `"0x" is no amount`,
		`amount("-1") < tx.value`:           `"-1" is no amount`,
		`amount("` + strings.Repeat("9", 79) + `") < tx.value`:                "is no amount",
		`amount("0x1` + strings.Repeat("0", 64) + `") < tx.value`:             "more than 256 bits",
		`units("eht", "1") < tx.value`:                                        `there is no asset "eht"`,
		`units("usdc", "1.1234567") < tx.value`:                               "more than the 6 decimals",
		`units("usdc", "1.") < tx.value`:                                      "is no number of whole units",
		`units("usdc", "1e3") < tx.value`:                                     "is no number of whole units",
		`units("usdc", string(tx.nonce)) < tx.value`:                          "must be a number",
		`units(request.kind, "1") < tx.value`:                                 "must be the id of an asset",
		`asset("eht") == ""`:                                                  `there is no asset "eht"`,
		`amount_of("eth") > 1`:                                                `"eth" is no CAIP-19 asset; write asset("eth")`,
		`listed("sanctoins", tx.to)`:                                          `there is no list "sanctoins"`,
		`listed(request.kind, tx.to)`:                                         "must be the id of a list",
		`member("tresury", user.id)`:                                          `there is no group "tresury"`,
		`signal.listed("x")`:                                                  `there is no list "x"`,
		`history.count("wallets", duration("1h")) > 1`:                        `scope "wallets" is not "user", "wallet" or "account"`,
		`history.count("asset", duration("1h")) > 1`:                          `scope "asset" is not "user", "wallet" or "account"`,
		`history.sum("wallet", asset("eth"), duration("2562047h47m17s")) > 1`: "invalid duration argument: write hours, minutes or seconds, such as 720h for 30 days, and at most 2562047h47m16s",
		`history.count("user", duration("9223372037s")) > 1`:                  "and at most 2562047h47m16s",
		`signal.duplicate(duration("9223372036s1s"))`:                         "and at most 2562047h47m16s",
		`signal.duplicate(duration("-2562047h47m16s"))`:                       "is not above 0",
		`signal.duplicate(duration("0h"))`:                                    "is not above 0",
		`history.count("user", duration("0s")) > 1`:                           "is not above 0",
		`history.count("user", duration("-1h")) > 1`:                          "is not above 0",
		`history.count("user", duration("1 day")) > 1`:                        "duration",
		`history.count("user", now - request.expires) > 1`:                    "the window must be",
		`signal.unusual("account", 6.0)`:                                      `scope "account" is not "user" or "wallet"`,
		`signal.unusual("user", 6)`:                                           "signal.unusual does not take (string, int); z must be a number with a point, such as 3.5",
		`signal.gas(21000)`:                                                   "signal.gas does not take (int); max must be an unsigned number, such as 500000u",
		`signal.nonce_gap(5u)`:                                                "signal.nonce_gap does not take (uint); n must be a whole number, such as 64",
		`signal.fee(amount(0), 3)`:                                            `signal.fee does not take (amount, int); max must be an amount, such as units("eth", "0.0000003") or amount("300000000000")`,
		`signal.fee(0, 3)`:                                                    "signal.fee does not take (int, int); min must be an amount",
		`units("usdc", 10000) > tx.value`:                                     `units does not take (string, int); number must be a number such as "1.5", as a literal`,
		`history.count("user", "24h") > 5`:                                    `history.count does not take (string, string); window must be duration("...") above 0`,
		`now.getHours(5) > 3`:                                                 `getHours does not take timestamp.(int); zone must be a time zone`,
		`(request.expires - now).getMinutes() < 60`:                           "column 35 of the condition: getMinutes is asked of a timestamp, not of a duration",
		`(request.expires - now).getHours("Europe/Zurich") < 60`:              "getHours is asked of a timestamp, not of a duration",
		`dyn(now).getHours(5) > 3`:                                            "getHours does not take dyn.(int); zone must be a time zone",
		`size(tx.nonce) > 3`:                                                  "size does not take (uint)",
		`tx.nonce.size() > 3`:                                                 "size does not take uint",
		`now.getHours("Europe/Zuerich") > 1`:                                  `there is no time zone "Europe/Zuerich"`,
		`now.getHours("Local") > 1`:                                           `there is no time zone "Local"`,
		`now.getHours("") > 1`:                                                `there is no time zone ""`,
		`now.getHours(account.chain) > 1`:                                     "must be a time zone",
		`now > timestamp("2026-13-01T00:00:00Z")`:                             "timestamp",
		`tx.to.matches("(")`:                                                  "invalid matches argument",
		`request.kind != "ethereum.transation"`:                               `there is no kind "ethereum.transation"`,
		`5 == typed.message.value`:                                            "the type of one side is not known",
		`typed.message.value != 5u`:                                           "the type of one side is not known",
		`typed.message.value > "500"`:                                         "numbers may be texts here",
		`"500" >= typed.message.value`:                                        "numbers may be texts here",
		`typed.message.value < typed.message.deadline`:                        "numbers may be texts here",
		`typed.message.list.exists(n, n <= "5")`:                              "numbers may be texts here",
		`typed.message.value in [1, 2]`:                                       "the type of one side is not known",
		`typed.message.value in [1, "2"]`:                                     "the type of one side is not known",
		`1 in typed.message.list`:                                             "the type of one side is not known",
		`[1] == [typed.message.value]`:                                        "the type of one side is not known",
		`tx.calls.exists(c, c.args.kind in [1, 2])`:                           "the type of one side is not known",
		`request.kind in ["policy.update", "ethereum.transation"]`:            `there is no kind "ethereum.transation"`,
		`tx.calls.exists(c, has(c.args.valeu) && c.args.valeu > amount(5))`:   `no function under calls has an argument "valeu"`,
		`tx.calls.exists(c, c.args["valeu"] == amount(5))`:                    `no function under calls has an argument "valeu"`,
		`tx.calls.exists(c, "valeu" in c.args)`:                               `no function under calls has an argument "valeu"`,
		`tx.calls.exists(c, c.args.exists(name, name == "valeu"))`:            `no function under calls has an argument "valeu"`,
		`tx.calls.exists(c, c.function == "transfer(address,uint)")`:          `no function "transfer(address,uint)" is declared under calls`,
		`tx.calls.exists(c, c.function in ["burn()"])`:                        `no function "burn()" is declared under calls`,
		`tx.selector == "0xA9059CBB"`:                                         "never matches: selectors and addresses are in lower case",
		`tx.selector in ["0xa9059cbb", "0x095EA7B3"]`:                         "never matches",
		`typed.message.to == "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"`:    "never matches",

		`tx.to == "` + bare + `"`:                                                            "never matches: accounts are CAIP-10",
		`tx.to in ["` + bob + `", "` + bare + `"]`:                                           "never matches: accounts are CAIP-10",
		`"` + bare + `" in tx.destinations`:                                                  "never matches: accounts are CAIP-10",
		`tx.destinations[0] != "` + bare + `"`:                                               "never matches: accounts are CAIP-10",
		`tx.destinations.exists(d, d == "` + bare + `")`:                                     "never matches: accounts are CAIP-10",
		`tx.moves.exists(d, d.amount > 1) && tx.destinations.exists(d, d == "` + bare + `")`: "never matches: accounts are CAIP-10",
		`tx.moves.exists(m, m.to == "` + bare + `")`:                                         "never matches: accounts are CAIP-10",
		`"` + bare + `" in tx.moves.map(m, m.to)`:                                            "never matches: accounts are CAIP-10",
		`"` + bare + `" in tx.destinations.filter(d, d != tx.from)`:                          "never matches: accounts are CAIP-10",
		`tx.moves.filter(m, m.amount > 1).exists(m, m.to == "` + bare + `")`:                 "never matches: accounts are CAIP-10",
		`tx.allowances.exists(a, a.spender == "` + bare + `")`:                               "never matches: accounts are CAIP-10",
		`tx.calls.exists(c, c.to == "` + bare + `")`:                                         "never matches: accounts are CAIP-10",
		`account.address == "eip155:1:0xab"`:                                                 "never matches: accounts are CAIP-10",
		`listed("blocked", "` + bare + `")`:                                                  "never matches: accounts are CAIP-10",
		`entry_age("partners", "` + bare + `") > duration("1h")`:                             "never matches: accounts are CAIP-10",
		`history.count_to("` + bare + `", duration("1h")) > 1`:                               "never matches: accounts are CAIP-10",
		`tx.to.startsWith("0x5555")`:                                                         "never matches: accounts are CAIP-10 and begin with their chain",
		`tx.moves.exists(m, m.asset == "usdc")`:                                              `never matches: assets are CAIP-19; write asset("usdc")`,
		`"tresury" in user.groups`:                                                           `there is no group "tresury"`,
		`user.groups.exists(g, g == "tresury")`:                                              `there is no group "tresury"`,
		`tx.chain == "1"`:                                                                    `"1" never matches: chains are CAIP-2, such as eip155:1`,
		`account.chain in ["eip155:1", "mainnet"]`:                                           `"mainnet" never matches: chains are CAIP-2`,
		`tx.form == "eip-1559"`:                                                              `"eip-1559" never matches: there are the forms legacy`,
		`tx.selector == "a9059cbb"`:                                                          "never matches: a selector is 0x and 8 hex digits",
		`tx.calls.exists(c, c.selector == "transfer(address,uint256)")`:                      "never matches: a selector is 0x and 8 hex digits",
		`wallet.id == "operations"`:                                                          "never matches: an id is 64 lower-case hex digits",
		`request.kind == "wallet.freeze"`:                                                    "never matches: no rule is asked about a freeze",
		`now.getDayOfWeek("Europe/Zurich") == 7`:                                             "7 never matches: getDayOfWeek is 0 to 6",
		`now.getMonth() in [0, 12]`:                                                          "12 never matches: getMonth is 0 to 11",
		`now.getDate("Europe/Zurich") != 0`:                                                  "0 never matches: getDate is 1 to 31",
		`signal.fee(units("eth", "0.0000003"), units("eth", "0.0000001"))`:                   "signal.fee: min is above max",
		`signal.fee(amount("9"), amount(8))`:                                                 "signal.fee: min is above max",
		`signal.unusual("wallet", 0.0)`:                                                      "signal.unusual: z is not above 0",
		`signal.unusual("wallet", -3.5)`:                                                     "signal.unusual: z is not above 0",
		`signal.nonce_gap(-1)`:                                                               "signal.nonce_gap: n is below 0",
		`history.count("user", duration("30d")) > 1`:                                         "write hours, minutes or seconds, such as 720h for 30 days",
		`true` + strings.Repeat(" && true", 600):                                             "the condition is longer than 4096 bytes",
	} {
		t.Run(when, func(t *testing.T) {
			_, err := rules.Compile(documentOf(document.Rule{ID: "r1", Effect: document.EffectAllow, When: when}), "approval", nil)
			if err == nil || !strings.HasPrefix(err.Error(), `approval: rule "r1": `) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

// TestCommentInCondition: what a comment would hide is not left out in silence,
// however it is written; two slashes in a text are none.
func TestCommentInCondition(t *testing.T) {
	compiled := func(when string) error {
		_, err := rules.Compile(documentOf(document.Rule{ID: "r1", Effect: document.EffectAllow, When: when}), "approval", nil)
		return err
	}
	for _, when := range []string{
		`tx.value > 2 // ether, and below it dollars || tx.value > 3`, `true // "`, `true ///`, "tx.value / // half\n 2 > 1", "// first\ntrue",
		`size("https://a") > 1 // x`, `size(r"\") > 1 // x`,
	} {
		if err := compiled(when); err == nil || !strings.Contains(err.Error(), "// begins a comment") {
			t.Errorf("%q: %v", when, err)
		}
	}
	for _, when := range []string{
		`size("https://a") > 1`, `size('//') > 1`, `size(r"\//") > 1`, `size("""//""") > 1`, `size("\\") / 2 > 1 && size("//") > 1`, `size("\"//") > 1`,
	} {
		if err := compiled(when); err != nil {
			t.Errorf("%q: %v", when, err)
		}
	}
}

// bare is an address where an account (CAIP-10) is meant.
const bare = "0x5555555555555555555555555555555555555555"

// TestAttackCostBombIsRefusedAtLoad: what would take long is not evaluated once.
func TestAttackCostBombIsRefusedAtLoad(t *testing.T) {
	hundred := "[" + strings.TrimSuffix(strings.Repeat("1,", 100), ",") + "]"
	for name, when := range map[string]string{
		"loops in loops in loops": `tx.moves.all(a, tx.moves.all(b, tx.moves.all(c, a.amount > b.amount)))`,
		"loops over long lists":   hundred + ".all(a, " + hundred + ".all(b, tx.to.contains(string(a + b)) || tx.moves.size() > a))",
		"text over text":          `tx.message.matches("(a|b|c|d|e|f)*(a|b|c|d|e|f)*x") && tx.moves.all(m, tx.message.contains(tx.message))`,
		"history in loops":        `tx.moves.all(a, tx.moves.all(b, history.sum_to(a.to, b.asset, duration("1h")) > b.amount))`,
		"signals in loops":        `tx.moves.all(a, tx.moves.all(b, signal.first_use()))`,
		"a long regex":            `tx.to.matches("(ab){600}")`,
		"a large regex":           `tx.to.matches("((((a{20}){20}){20}){20})")`,
		"long":                    strings.Repeat("true && ", 600) + "true",
		"loops upon loops":        `tx.moves` + strings.Repeat(`.filter(m, m.amount > 5)`, 5) + ` == []`,
		"deep":                    strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100),
		"doubled text":            `tx.moves.map(a, tx.moves.map(b, a.to + b.to + a.to)).size() > 1`,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := rules.Compile(documentOf(deny(when)), "approval", nil)
			if err == nil {
				t.Error("compiled")
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestUsualRulesAreWithinTheirCost: what templates and people write passes.
func TestUsualRulesAreWithinTheirCost(t *testing.T) {
	for _, when := range []string{
		`tx.amounts.all(a, history.sum("wallet", a.asset, duration("24h")) + a.amount <= units("eth", "100"))`,
		`tx.destinations.all(d, listed("partners", d) && !listed("blocked", d))`,
		`tx.destinations.exists(d, !listed("partners", d) || entry_age("partners", d) < duration("48h"))`,
		`tx.moves.all(m, tx.moves.exists_one(n, n.to == m.to))`,
		`tx.message.contains("login") && tx.message.matches("^[a-z ]+$")`,
		`tx.calls.all(c, c.understood && !c.delegate && c.depth < 3)`,
		`tx.moves.filter(m, m.asset == asset("usdc")).map(m, m.amount).all(a, a <= units("usdc", "5"))`,
		`typed.primary_type in ["Permit", "PermitSingle"] && amount(typed.message.value) < units("usdc", "500")`,
		`tx.message == "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B" || tx.message in ["0xA9059CBB", "no"]`,
		`"value" in typed.message && typed.message.side in ["0", "1"] && typed.message.list == []`,
		`tx.calls.exists(c, c.args.kind in [amount(1), amount(2)] && c.args.to == "0xab5801a7d398351b8be11c439e05c5b3259aec9b")`,
		`request.kind in ["policy.update"] || tx.nonce in [7u]`,
		`tx.calls.exists(c, c.function in ["", "transfer(address,uint256)"] && (c.args == {} || c.args["value"] == amount(5)))`,
		`amount(typed.message.value) > amount(typed.message.deadline) && typed.message.value > amount(5) && tx.form > "e"`,
		`tx.to == "" || tx.moves.exists(m, m.to == "") || tx.to.endsWith("5555") || tx.selector in ["0x", "0xa9059cbb"]`,
		`tx.moves.exists(d, d.to == "` + bob + `") && tx.destinations.exists(d, d == "` + bob + `")`,
		`"treasury" in user.groups && tx.chain == "eip155:1" && tx.form != "legacy" && typed.contract in ["` + bare + `", "eip155:1:` + bare + `"]`,
		`tx.calls.exists(c, c.args.to == "` + bare + `") || typed.message.to in ["` + bare + `"]`,
		`now.getDayOfWeek("Europe/Zurich") in [0, 6] && now.getDate() == 31 && now.getMonth() != 11`,
		`signal.fee(units("eth", "0"), tx.fee) || signal.fee(amount(1), amount(1))`,
		`signal.first_use() || signal.lookalike() || signal.unusual("wallet", 6.0) || signal.duplicate(duration("10m"))`,
	} {
		if _, err := rules.Compile(documentOf(deny(when)), "approval", nil); err != nil {
			t.Error(err)
		}
	}
}

func TestFaultsOfRulesAndDocument(t *testing.T) {
	asking := document.Rule{ID: "r", Effect: document.EffectAsk, When: `true`}
	for _, role := range []string{message.RoleAuthorization, message.RoleFraud} {
		doc := &document.Document{Rules: document.Rules{Authorization: []document.Rule{asking}, Fraud: []document.Rule{asking}}}
		if _, err := rules.Compile(doc, role, nil); err == nil || !strings.Contains(err.Error(), "only the approval role can ask people") {
			t.Errorf("%s: %v", role, err)
		}
	}
	doc := documentOf(allow(`true`), document.Rule{ID: "odd", Effect: "permit", When: `true`}, deny(`tx.x`), deny(`tx.y`))
	doc.Rules.Approval = append(doc.Rules.Approval, allow(`true`))
	doc.Calls = append(doc.Calls, document.Call{Function: "transfer(address to"})
	_, err := rules.Compile(doc, "approval", nil)
	for _, want := range []string{
		`effect "permit" is not allow, ask or deny`, `undeclared reference to 'tx.x'`, `'tx.y'`, `rule "true" stands twice`,
		`calls: entry 4 ("transfer(address to")`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s in it", err, want)
		}
	}
	if _, err := rules.Compile(&document.Document{}, "nobody", nil); err != nil {
		t.Errorf("a role without rules: %v", err)
	}
}

// FuzzCompile: a hostile document neither panics nor takes long, and what
// compiles has a verdict.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`true`, `tx.value > units("eth", "1.5")`, `tx.moves.exists(m, m.amount > 5)`, `signal.unusual("wallet", 6.0)`, `[1,2].map(x, [x].map(y, y))`,
		`"a".matches("(a*)*b")`, `{"a": [1]}.a[0] == 1`, `type(tx) == map`, `has(tx.moves[0].to)`, `"\ud800"`, "tx.`value` > 1", `b"\xff" + b"x" == b""`,
		`[[[[[[[[[[1]]]]]]]]]].size() > 1`, `tx.value.add(1)`, `now.getHours("../../etc/passwd") > 1`, `duration("999999999h") > duration("1h")`, `.tx.value > 1`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, when string) {
		start := time.Now()
		set, err := rules.Compile(documentOf(document.Rule{ID: "r", Effect: document.EffectAllow, When: when}), "approval", nil)
		if err == nil {
			out := set.Explain(t.Context(), transfer())
			if out.Verdict != rules.Allow && out.Verdict != rules.Deny || len(out.Trace) != 1 {
				t.Fatalf("%+v", out)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func ExampleCompile() {
	doc := &document.Document{Rules: document.Rules{Fraud: []document.Rule{
		{ID: "small", Effect: document.EffectAllow, When: `tx.valeu < 5`},
	}}}
	_, err := rules.Compile(doc, message.RoleFraud, nil)
	fmt.Println(err)
	// Output: fraud: rule "small": line 1, column 3 of the condition: undeclared reference to 'tx.valeu' (did you mean 'tx.value'?)
}
