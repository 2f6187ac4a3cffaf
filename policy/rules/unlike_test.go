package rules_test

import "testing"

// TestComparisonsThatAreNeverTrue: typed data and arguments beside what they never
// equal.
func TestComparisonsThatAreNeverTrue(t *testing.T) {
	const chain, amounts, never = "write account(...) around it", "numbers in typed.message are texts: write amount(...)", "never matches"
	in := func(condition string) string { return `tx.calls.exists(c, ` + condition + `)` }
	for when, want := range map[string]string{
		`typed.message.value == amount("0xffff")`:                    amounts,
		`typed.message.value in [amount(7)]`:                         amounts,
		`units("usdc", "5") != typed.message.value`:                  amounts,
		`typed.message.list.exists(n, n == amount(7))`:               amounts,
		`amount(7) in typed.message.list`:                            amounts,
		`typed.message.value == tx.fee`:                              amounts,
		`{"a": 5, "b": "x"}["a"] == amount(5)`:                       "the type of one side is not known: write amount(...)",
		`typed.message.owner == tx.from`:                             chain,
		`typed.message.spender in tx.destinations`:                   chain,
		`tx.destinations.exists(d, d == typed.message.spender)`:      chain,
		`tx.moves.exists(m, m.to == typed.message.spender)`:          chain,
		`tx.from in [typed.message.owner]`:                           chain,
		`typed.message.owner in {tx.from: 1}`:                        chain,
		`(true ? typed.message.owner : "") == tx.from`:               chain,
		`typed.message.verifier == typed.contract`:                   chain,
		`dyn(typed.message.owner) == tx.from`:                        chain,
		`[typed.message.a, typed.message.b].exists(x, x == tx.from)`: chain,
		`typed.message.owner == "` + bob + `"`:                       "write account(...) around the other side",
		`typed.message.token == asset("usdc")`:                       "write that of the asset's contract",
		in(`c.args.to == tx.from`):                                   chain,
		in(`c.args.path.exists(p, p == tx.from)`):                    chain,
		in(`c.args.to == asset("usdc")`):                             "write that of the asset's contract",
		in(`c.args.amountIn == tx.from`):                             "it is never a text",
		in(`c.args.amountIn == asset("usdc")`):                       "it is never a text",
		in(`c.args.to == "` + bob + `"`):                             "write account(...) around the other side",
		in(`c.args.amountIn == "5"`):                                 "it is never a text: by calls the argument is of type integer",
		in(`c.args.amountIn in ["5"]`):                               "it is never a text",
		in(`"5" == c.args["amountIn"]`):                              "it is never a text",
		in(`c.args.amountIn == true`):                                "it is never true or false",
		in(`c.args.to == amount(5)`):                                 "it is never an amount: by calls the argument is of type address",
		in(`c.args.exact == "true"`):                                 "it is never a text",
		in(`c.args.to == "0x55"`):                                    never,
		in(`"bob" in c.args.path`):                                   never,
		in(`c.args.salt == "5"`):                                     never,
		in(`c.args.steps.exists(s, s.amount == "5")`):                "it is never a text",
		in(`c.args.steps.exists(s, s.target == tx.from)`):            chain,
		in(`c.args.amountIn == 5`):                                   "the type of one side is not known",
	} {
		faulty(t, when, want)
	}
	for _, when := range []string{
		`typed.message.value == "500" && typed.message.flag == true && typed.message.none == null`,
		`amount(typed.message.value) == amount(5) && typed.message.owner == "` + bare + `"`,
		`account(typed.message.owner) == tx.from && account(typed.message.spender) in tx.destinations`,
		`typed.message.a == typed.message.b && typed.message.path == [] && typed.message.side in ["0", "1"]`,
		in(`c.args.amountIn == amount(5) && c.args.exact && c.args.exact == true && c.args.note == "` + bob + `"`),
		in(`account(c.args.to) == tx.from && c.args.path.exists(p, p == "` + bare + `" || account(p) == tx.from)`),
		in(`c.args.salt == "0x00ff" && c.args.path == ["` + bare + `"] && c.args.steps.exists(s, s.amount == amount(5))`),
		`dyn(amount(5)) == amount(5)`,
		`[{"to": "` + bob + `", "asset": asset("usdc"), "max": units("usdc", "50")}].exists(r, tx.moves.exists(m, m.to == r.to && m.asset == r.asset && m.amount <= r.max))`,
		`{"ada": {"to": "` + bob + `", "max": amount(5)}}[user.id].to == tx.to && {"a": 5, "b": "x"}["b"] == typed.contract`,
		`tx.moves.map(m, {"n": m.amount, "t": m.to}).exists(x, x.t == tx.to)`,
		in(`c.args.note == tx.from || c.args.note == asset("usdc")`),
	} {
		fine(t, when)
	}
}
