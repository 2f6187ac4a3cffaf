package rules_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

var maxUint256 = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))

// TestValues is the reference of what conditions see, read aloud.
func TestValues(t *testing.T) {
	native := transfer()
	native.Meaning.Effects.Moves = []transaction.Move{{Asset: eth, From: alice, To: "eip155:1:0xB0B0000000000000000000000000000000000B0B", Amount: big.NewInt(5)}}
	native.Meaning.Effects.Details.Value = big.NewInt(5)
	native.Meaning.Effects.Details.To = bob
	native.Meaning.Effects.Details.Data = nil
	native.Meaning.Effects.Details.Calls = nil
	withHistory := transfer()
	withHistory.History = &fakeHistory{
		sums:   map[string]int64{"wallet/w1/" + eth: 40, "user/ada/" + eth: 41, "account/" + alice + "/" + eth: 42, "asset/" + eth + "/" + eth: 43, "destination/" + bob + "/" + eth: 44},
		counts: map[string]int{"wallet/w1/": 4, "user/ada/" + eth: 5, "destination/" + bob + "/": 6},
	}
	legacy := transfer()
	legacy.Meaning.Effects.Details.PriorityFeePerGas = nil
	stranger := transfer()
	stranger.User = document.User{}
	call := transfer()
	call.Meaning.Effects.Details.Calls[0].Data = transferData(5)
	broken := transfer()
	broken.Meaning.Effects.Details.Calls[0].Data = transferData(5)[:67]
	decoded := `tx.calls[0].args`

	inner := transfer()
	inner.Meaning.Effects.Details.Calls = append(inner.Meaning.Effects.Details.Calls, transaction.Call{To: "eip155:1:0x" + strings.Repeat("C", 40), Depth: 1, Delegate: true})
	inner.Meaning.Effects.Unknown = []transaction.UnknownCall{{To: inner.Meaning.Effects.Details.Calls[1].To}, {Size: 7}}

	called := transfer()
	called.Meaning.Effects.Details.Calls[0].To = "eip155:1:0x" + strings.Repeat("D", 40)

	for name, c := range map[string]struct {
		facts rules.Facts
		when  string
		want  string // "" means true
	}{
		"kind":                    {transfer(), `request.kind == "ethereum.transaction" && request.id.startsWith("0197")`, ""},
		"user":                    {transfer(), `user.id == "ada" && user.groups == ["treasury"]`, ""},
		"wallet":                  {transfer(), `wallet.id == "w" + "1" && wallet.owner == "ada"`, ""},
		"account":                 {transfer(), `account.id == "a" + "1" && account.chain == "eip155:1" && account.address == "` + alice + `"`, ""},
		"owner to be":             {creation(), `wallet.owner == "ada" && wallet.id == "w" + "2"`, ""},
		"now":                     {transfer(), `now == timestamp("2026-11-20T12:00:00Z")`, ""},
		"zone in winter":          {transfer(), `now.getHours("Europe/Zurich") == 13 && now.getHours() == 12 && now.getHours("Asia/Kathmandu") == 17 && now.getMinutes("Asia/Kathmandu") == 45`, ""},
		"calendar":                {transfer(), `now.getDayOfWeek() == 5 && now.getDate() == 20 && now.getMonth() == 10 && now.getFullYear() == 2026 && now.getDayOfMonth() == 19 && now.getDayOfYear() == 323 && now.getSeconds() == 0`, ""},
		"written":                 {transfer(), `tx.form == "eip1559" && tx.chain == "eip155:1" && tx.from == account.address && tx.to == "` + usdcContract + `"`, ""},
		"numbers":                 {transfer(), `tx.nonce == 7u && tx.gas_limit == 70000u && tx.data_size == 68 && !tx.creates_contract`, ""},
		"fees":                    {transfer(), `tx.fee_per_gas == amount("30000000000") && tx.priority_fee_per_gas == amount(1000000000) && tx.fee == amount("2100000000000000")`, ""},
		"cost":                    {native, `tx.cost == amount("2100000000000005") && tx.cost - tx.value == tx.fee`, ""},
		"moves":                   {native, `tx.moves.size() == 1 && tx.moves[0].to == "` + bob + `" && tx.moves[0].from == tx.from && tx.moves[0].asset == asset("eth") && tx.moves[0].amount == amount(5)`, ""},
		"amounts":                 {transfer(), `tx.amounts.exists(a, a.asset == asset("usdc") && a.amount == units("usdc", "2.5"))`, ""},
		"amount of":               {transfer(), `amount_of(asset("usdc")) == units("usdc", "2.5") && amount_of("eip155:61/slip44:60") == amount(0) && amount_of(asset("eth")) == tx.fee`, ""},
		"destinations once":       {transfer(), `tx.destinations == ["` + usdcContract + `", "` + bob + `"]`, ""},
		"destinations of calls":   {inner, `tx.destinations[2] == "eip155:1:0x` + strings.Repeat("c", 40) + `" && tx.destinations.size() == 3`, ""},
		"destination only called": {called, `tx.destinations.size() == 3 && tx.destinations[2] == "eip155:1:0x` + strings.Repeat("d", 40) + `"`, ""},
		"unknown calls":           {inner, `tx.unknown.size() == 2 && tx.unknown[0].delegate && tx.unknown[0].depth == 1 && tx.unknown[1].to == "" && !tx.unknown[1].understood && tx.unknown[0].value == amount(0)`, ""},
		"call":                    {transfer(), `tx.calls[0].function == "transfer(address,uint256)" && tx.calls[0].selector == "0xa9059cbb" && tx.calls[0].understood && tx.calls[0].depth == 0 && tx.calls[0].value == amount(0)`, ""},
		"arguments":               {call, decoded + `.value > amount(4) && ` + decoded + `.to == "0x000000000000000000000000000000000000dead"`, ""},
		"arguments do not fit":    {broken, decoded + `.spender == "` + bob[9:] + `"`, "error: the arguments of transfer(address,uint256) cannot be read"},
		"no calls in value":       {native, `tx.calls == [] && tx.selector == "0x"`, ""},
		"allowance":               {permit(), `tx.allowances[0].unlimited && tx.allowances[0].spender == "` + bob + `" && tx.allowances[0].owner == tx.from && tx.allowances[0].asset == asset("usdc")`, ""},
		"typed":                   {permit(), `typed.primary_type == "Permit" && typed.name == "USD Coin" && typed.version == "2" && typed.contract == "` + usdcContract + `"`, ""},
		"typed amounts":           {permit(), `amount(typed.message.value) > units("eth", "1") && amount(typed.message.deadline) == amount(1800000000)`, ""},
		"typed others":            {permit(), `int(typed.message.low) == -5 && amount(typed.message.list[1]) == amount(2) && typed.message.inner.flag && typed.message.inner.none == null`, ""},
		"typed fraction":          {permit(), `typed.message.part == "x"`, `error: "1.5" is no whole number`},
		"typed lacks":             {permit(), `typed.message.nothing == "x"`, "error: no such key: nothing"},
		"has":                     {permit(), `has(typed.message.value) && !has(typed.message.nothing)`, ""},
		"message":                 {signedText([]byte("login")), `tx.message == "login" && tx.form == "eip191" && tx.destinations == []`, ""},
		"binary message":          {signedText([]byte{0xff, 0xfe}), `tx.message == "x"`, "error: the message is no text"},
		"listed":                  {transfer(), `listed("partners", "` + bob + `") && !listed("blocked", "` + bob + `") && labelled("partners", "` + alice + `") == ""`, ""},
		"listed in another case":  {transfer(), `listed("partners", "eip155:1:0x" + "B0B0000000000000000000000000000000000B0B")`, ""},
		"label":                   {transfer(), `labelled("partners", "` + bob + `") == "Bob"`, ""},
		"age unknown":             {transfer(), `entry_age("partners", "` + bob + `") > duration("24h")`, "error: list partners does not say since when " + bob + " is in it"},
		"age of none":             {transfer(), `entry_age("partners", "` + alice + `") > duration("24h")`, "error: list partners has no entry for " + alice},
		"member":                  {transfer(), `member("treasury", user.id) && !member("treasury", "eve")`, ""},
		"sums":                    {withHistory, `history.sum("wallet", asset("eth"), duration("1h")) == amount(40) && history.sum("user", asset("eth"), duration("1h")) == amount(41) && history.sum("account", asset("eth"), duration("1h")) == amount(42) && history.sum("asset", asset("eth"), duration("1h")) == amount(43) && history.sum_to("` + bob + `", asset("eth"), duration("1h")) == amount(44)`, ""},
		"counts":                  {withHistory, `history.count("wallet", duration("1h")) == 4 && history.count_of("user", asset("eth"), duration("1h")) == 5 && history.count_to("` + bob + `", duration("1h")) == 6`, ""},
		"account of none":         {creation(), `history.count("account", duration("1h")) == 0`, "error: the request has no account to look up"},
		"string of an amount":     {transfer(), `string(units("usdc", "1")) == "1000000"`, ""},

		"nonce of a message":    {signedText([]byte("x")), `tx.nonce == 0u`, "error: the request has no tx.nonce"},
		"value of typed data":   {permit(), `tx.value == amount(0)`, "error: the request has no tx.value"},
		"fee of typed data":     {permit(), `tx.fee > 1`, "error: the request has no tx.fee"},
		"cost of typed data":    {permit(), `tx.cost > 1`, "error: the request has no tx.cost"},
		"moves of a creation":   {creation(), `tx.moves == []`, "error: the request has no tx.moves"},
		"amounts of a creation": {creation(), `amount_of(asset("eth")) == amount(0)`, "error: the request has no amounts"},
		"chain of a creation":   {creation(), `account.chain == ""`, "error: the request has no account.chain"},
		"typed of a message":    {signedText([]byte("x")), `typed.name == ""`, "error: the request has no typed.name"},
		"message of typed":      {permit(), `tx.message == ""`, "error: the request has no tx.message"},
		"priority of legacy":    {legacy, `tx.priority_fee_per_gas < 1`, "error: the request has no tx.priority_fee_per_gas"},
		"nobody":                {stranger, `user.id == ""`, "error: the request has no user.id"},
		"groups of nobody":      {stranger, `user.groups == []`, "error: the request has no user.groups"},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = "true"
			}
			if got := value(t, c.facts, c.when); got != want {
				t.Errorf("%s\n got %s\nwant %s", c.when, got, want)
			}
		})
	}
}

func TestEntryAge(t *testing.T) {
	facts := transfer()
	doc := documentOf(allow(`entry_age("partners", "` + bob + `") == duration("48h")`))
	doc.Lists[1].Entries[0].Since = document.At(facts.Now.Add(-48 * time.Hour))
	if out := compile(t, doc, "approval").Evaluate(t.Context(), facts); out.Verdict != rules.Allow {
		t.Errorf("%+v", out)
	}
}

// TestDeclaredCalls: a function that is declared for one contract is read there
// alone, and before one that is declared for every contract.
func TestDeclaredCalls(t *testing.T) {
	doc := documentOf()
	doc.Calls = []document.Call{
		{Contract: bob, Function: "transfer(address a, uint256 b)"},
		{Function: "transfer(address to, uint256 value)"},
		{Contract: alice, Function: "approve(address spender, uint256 value)"},
		{Function: "mint(address,uint256)"},
	}
	unnamed := append([]byte{0x40, 0xc1, 0x0f, 0x19}, transferData(5)[4:]...)
	approval := append([]byte{0x09, 0x5e, 0xa7, 0xb3}, transferData(5)[4:]...)
	for _, c := range []struct {
		to   string
		data []byte
		when string
	}{
		{bob, transferData(5), `tx.calls[0].args.b == dyn(amount(5)) && !has(tx.calls[0].args.value)`},
		{usdcContract, transferData(5), `tx.calls[0].args.value == dyn(amount(5)) && !has(tx.calls[0].args.b)`},
		{alice, approval, `tx.calls[0].args.spender == "0x000000000000000000000000000000000000dead"`},
		{usdcContract, approval, `tx.calls[0].args == {}`},
		{bob, unnamed, `tx.calls[0].args["0"] == "0x000000000000000000000000000000000000dead" && tx.calls[0].args["1"] == dyn(amount(5))`},
	} {
		facts := transfer()
		facts.Meaning.Effects.Details.Calls[0].To, facts.Meaning.Effects.Details.Calls[0].Data = c.to, c.data
		doc.Rules.Approval = []document.Rule{allow(c.when)}
		if out := compile(t, doc, "approval").Explain(t.Context(), facts); out.Verdict != rules.Allow {
			t.Errorf("%s: %v %+v", c.when, out.Reasons, out.Trace)
		}
	}
}

// transferData is the calldata of transfer(address,uint256).
func transferData(n int64) []byte {
	data := append([]byte{0xa9, 0x05, 0x9c, 0xbb}, make([]byte, 64)...)
	data[34], data[35] = 0xde, 0xad
	big.NewInt(n).FillBytes(data[36:])
	return data
}

func TestAmounts(t *testing.T) {
	huge := `amount("115792089237316195423570985008687907853269984665640564039457584007913129639935")`
	for when, want := range map[string]string{
		`amount(7) + amount(3) == amount(10)`:                  "true",
		`amount(7) + 3 == amount(10)`:                          "true",
		`amount(7) + 3u == amount(10)`:                         "true",
		`amount(7) - 3 == amount(4)`:                           "true",
		`amount(3) - 7 == amount(4)`:                           "error: an amount would be below zero",
		`amount(3) - amount("7") < 1`:                          "error: an amount would be below zero",
		`amount(7) * 3 / 2 == amount(10)`:                      "true",
		`amount(7) % 3 == amount(1)`:                           "true",
		`amount(7) / 0 < 1`:                                    "error: an amount is divided by zero",
		`amount(7) % amount(0) < 1`:                            "error: an amount is divided by zero",
		`amount(7) + -1 < 1`:                                   "error: an amount cannot be counted with a number below zero",
		`amount(7) * -1 < 1`:                                   "error: an amount cannot be counted with a number below zero",
		`amount(0 - 1) < 1`:                                    "error: an amount would be below zero",
		`amount(7) > -1`:                                       "true",
		`amount(7) >= 7 && amount(7) <= 7u && amount(7) < 8`:   "true",
		huge + ` + 1 > ` + huge:                                "true",
		huge + ` * ` + huge + ` > ` + huge:                     "true",
		huge + ` * ` + huge + ` * 2 > 1`:                       "error: an amount would have more than 512 bits",
		`amount("0xff") == amount(255)`:                        "true",
		`amount("0xFF") != amount(254)`:                        "true",
		`amount(amount(5)) == amount("5")`:                     "true",
		`units("eth", "1.5") == amount("1500000000000000000")`: "true",
		`units("usdc", "0.000001") == amount(1)`:               "true",
		`units("eth", "0") == amount(0)`:                       "true",
		`amount(string(tx.nonce)) == amount(7)`:                "true",
		`amount(tx.message) == amount(7)`:                      "error: the request has no tx.message",
		`amount(request.kind) == amount(7)`:                    `error: "ethereum.transaction" is no amount: digits, or 0x and hex digits`,
		`amount(5) in [amount(4), amount(5)]`:                  "true",
		`{"a": amount(5)} == {"a": amount(5)}`:                 "true",
		`dyn(amount(5)) == amount(5)`:                          "true",
		`amount(5) < dyn("x")`:                                 "error: an amount cannot be counted with a value of type string",
		`type(amount(5)) == type(tx.value)`:                    "true",
	} {
		if got := value(t, transfer(), when); got != want && !strings.HasPrefix(got, want+":") {
			t.Errorf("%s\n got %s\nwant %s", when, got, want)
		}
	}
}

// TestLazy: what no condition reads is not asked for.
func TestLazy(t *testing.T) {
	history := &fakeHistory{}
	facts := transfer()
	facts.History = history
	decide(t, facts, allow(`tx.value > 5 && history.count("wallet", duration("1h")) > 3`))
	if history.calls != 0 {
		t.Errorf("the history was asked %d times", history.calls)
	}
	decide(t, facts, allow(`history.count("wallet", duration("90m")) > 3`))
	if history.calls != 1 || history.windows[0] != 90*time.Minute {
		t.Errorf("the history was asked %d times with %v", history.calls, history.windows)
	}
}

func TestUsesHistory(t *testing.T) {
	for when, want := range map[string]bool{
		`tx.value > 5`: false, `signal.gas(5u)`: false, `signal.first_use()`: true,
		`history.count("user", duration("1h")) > 3`: true,
	} {
		if got := compile(t, documentOf(allow(when)), "approval").UsesHistory(); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
}

var _ rules.History = (*ledger.View)(nil)
