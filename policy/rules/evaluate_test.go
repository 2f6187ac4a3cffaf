package rules_test

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

const failing = `amount(1) - 2 < 5`

func TestVerdicts(t *testing.T) {
	elsewhere := deny(`true`)
	elsewhere.Kinds = []message.Kind{message.KindWalletCreate}
	here := allow(`true`)
	here.Kinds = transactions
	for name, c := range map[string]struct {
		rules []document.Rule
		want  rules.Verdict
		codes []string
		first string
	}{
		"no rules":             {nil, rules.Deny, []string{"no_rule_allows"}, "no rule of approval allows this ethereum.transaction"},
		"allow":                {[]document.Rule{allow(`true`)}, rules.Allow, nil, ""},
		"allow of its kind":    {[]document.Rule{here}, rules.Allow, nil, ""},
		"allow not true":       {[]document.Rule{allow(`false`)}, rules.Deny, []string{"no_rule_allows"}, ""},
		"deny wins over allow": {[]document.Rule{allow(`true`), deny(`1 < 2`)}, rules.Deny, []string{"rule_denies"}, "rule 1 < 2: never"},
		"deny wins over ask":   {[]document.Rule{ask(`true`), deny(`1 < 2`)}, rules.Deny, []string{"rule_denies"}, ""},
		"deny of other kinds":  {[]document.Rule{elsewhere, allow(`true`)}, rules.Allow, nil, ""},
		"ask wins over allow":  {[]document.Rule{allow(`true`), ask(`1 < 2`)}, rules.Ask, []string{"rule_asks"}, "rule 1 < 2: people"},
		"two ask":              {[]document.Rule{ask(`1 < 2`), ask(`1 < 3`), ask(`false`)}, rules.Ask, []string{"rule_asks", "rule_asks"}, ""},
		"failing deny":         {[]document.Rule{allow(`true`), deny(failing)}, rules.Deny, []string{"rule_failed"}, "rule " + failing + ": could not be evaluated: an amount would be below zero"},
		"failing allow":        {[]document.Rule{allow(`true`), allow(failing)}, rules.Deny, []string{"rule_failed"}, ""},
		"failing ask":          {[]document.Rule{allow(`true`), ask(failing)}, rules.Deny, []string{"rule_failed"}, ""},
		"all reasons":          {[]document.Rule{deny(`true`), ask(`1 < 2`), deny(failing)}, rules.Deny, []string{"rule_failed", "rule_denies"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := decide(t, transfer(), c.rules...)
			if out.Verdict != c.want || !slices.Equal(codes(out.Reasons), c.codes) {
				t.Fatalf("%s %v, want %s %v", out.Verdict, out.Reasons, c.want, c.codes)
			}
			if c.first != "" && out.Reasons[0].Detail != c.first {
				t.Errorf("%q, want %q", out.Reasons[0].Detail, c.first)
			}
			if (len(out.Asks) > 0) != (c.want == rules.Ask) {
				t.Errorf("asks %v", out.Asks)
			}
		})
	}
}

func TestAsksCarryTheirQuorum(t *testing.T) {
	r := ask(`true`)
	r.Approvers, r.Quorum = []string{"treasury"}, 2
	out := decide(t, transfer(), r)
	if len(out.Asks) != 1 || out.Asks[0].Quorum != 2 || out.Asks[0].Approvers[0] != "treasury" || out.Asks[0].Reason != "people" || out.Asks[0].Rule != "true" {
		t.Errorf("%+v", out.Asks)
	}
}

// unknown are facts with something that nobody understands.
func unknown() map[string]rules.Facts {
	call, creation, move, allowance, nothing := transfer(), transfer(), transfer(), transfer(), transfer()
	call.Meaning.Effects.Unknown = []transaction.UnknownCall{{To: bob, Selector: []byte{1, 2, 3, 4}, Value: new(big.Int), Size: 36}}
	creation.Meaning.Effects.Unknown = []transaction.UnknownCall{{Size: 1000}}
	move.Meaning.Effects.Moves[1].To = ""
	allowance.Meaning.Effects.Allowances = []transaction.Allowance{{Asset: usdc, Owner: alice, Amount: big.NewInt(1)}}
	nothing.Meaning.Effects.Moves = nil
	return map[string]rules.Facts{
		"a call of " + bob + " with selector 0x01020304 and 36 bytes is not understood": call,
		"a contract creation of 1000 bytes is not understood":                           creation,
		"the destination of a move of " + usdc + " cannot be told":                      move,
		"the spender of an allowance of " + usdc + " cannot be told":                    allowance,
		"it has no effects that are understood":                                         nothing,
	}
}

func TestAttackUnknownCallIsNotAllowed(t *testing.T) {
	covering, asking := allow(`true`), ask(`true`)
	covering.UnknownCalls, asking.UnknownCalls = true, true
	for detail, facts := range unknown() {
		t.Run(detail, func(t *testing.T) {
			out := decide(t, facts, allow(`true`))
			if out.Verdict != rules.Deny || !slices.Equal(codes(out.Reasons), []string{"no_rule_allows", "unknown_call"}) || out.Reasons[1].Detail != detail {
				t.Errorf("%s %v", out.Verdict, out.Reasons)
			}
			if out.Trace[0].Applies || out.Trace[0].Why == "" {
				t.Errorf("%+v", out.Trace)
			}
			// One that asks is not skipped, or a call that is not understood would
			// spare the rest the question.
			for _, list := range [][]document.Rule{{ask(`true`)}, {covering, ask(`true`)}} {
				out := decide(t, facts, list...)
				if out.Verdict != rules.Deny || !slices.Equal(codes(out.Reasons), []string{"unknown_call", "unknown_call"}) || out.Reasons[0].Detail != detail {
					t.Errorf("%s %v", out.Verdict, out.Reasons)
				}
			}
			if out := decide(t, facts, covering); out.Verdict != rules.Allow {
				t.Errorf("covered, and yet %s %v", out.Verdict, out.Reasons)
			}
			if out := decide(t, facts, covering, asking); out.Verdict != rules.Ask {
				t.Errorf("asked, and yet %s %v", out.Verdict, out.Reasons)
			}
			// A rule that denies needs no leave to.
			if out := decide(t, facts, covering, deny(`true`)); out.Verdict != rules.Deny {
				t.Errorf("denied, and yet %s", out.Verdict)
			}
		})
	}
}

func TestAttackRuleFailureDenies(t *testing.T) {
	panicking := transfer()
	panicking.History = &fakeHistory{panics: true}
	without := transfer()
	without.History = nil
	odd := transfer()
	odd.Meaning.Effects.Details.Value = big.NewInt(-1)
	many := transfer()
	many.Meaning.Effects.Moves = slices.Repeat(many.Meaning.Effects.Moves, 5000)
	for name, c := range map[string]struct {
		facts rules.Facts
		when  string
		part  string
	}{
		"field of another kind":  {creation(), `tx.value > 1`, "the request has no tx.value"},
		"missing argument":       {transfer(), `tx.calls[0].args.amount > amount(1)`, "no such key: amount"},
		"missing element":        {transfer(), `tx.moves[7].amount > 1`, "index out of bounds"},
		"amount below zero":      {transfer(), failing, "below zero"},
		"amount too large":       {transfer(), strings.Repeat(`amount("0x`+strings.Repeat("f", 64)+`") * `, 3) + `1 > 1`, "512 bits"},
		"overflow of an int":     {transfer(), `9223372036854775807 + tx.data_size > 1`, "integer overflow"},
		"division by zero":       {transfer(), `10 / (tx.data_size - 68) > 1`, "division by zero"},
		"amount by zero":         {transfer(), `tx.fee / tx.value > 1`, "divided by zero"},
		"negative value":         {odd, `tx.value < 5`, "below zero"},
		"cost":                   {many, `tx.moves.exists(a, tx.moves.exists(b, a.amount + b.amount == amount(1)))`, "cost limit exceeded"},
		"absorbed to an error":   {creation(), `tx.value > 1 && true`, "the request has no tx.value"},
		"absorbed in or":         {creation(), `tx.value > 1 || false`, "the request has no tx.value"},
		"negated":                {creation(), `!(tx.value > 1)`, "the request has no tx.value"},
		"in a ternary":           {creation(), `tx.value > 1 ? true : true`, "the request has no tx.value"},
		"panicking history":      {panicking, `history.count("wallet", duration("1h")) < 3`, "it broke off"},
		"panicking signal":       {panicking, `signal.nonce_gap(1)`, "it broke off"},
		"no history":             {without, `history.count("wallet", duration("1h")) < 3`, "there is no history"},
		"signal without history": {without, `!signal.first_use()`, "there is no history"},
		"age of no entry":        {transfer(), `entry_age("partners", tx.to) > duration("1h")`, "no entry"},
		"unreadable text":        {transfer(), `int(request.kind) > 1`, "type conversion error"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []document.Rule{allow(c.when), ask(c.when), deny(c.when)} {
				out := decide(t, c.facts, allow(`true`), r)
				if out.Verdict != rules.Deny || len(out.Reasons) != 1 || !hasReason(out.Reasons, rules.CodeFailed, "rule "+c.when[:min(10, len(c.when))]) {
					t.Fatalf("%s: %s %v", r.Effect, out.Verdict, out.Reasons)
				}
				if !strings.Contains(out.Trace[1].Err, c.part) {
					t.Errorf("%s: error %q, want %q in it", r.Effect, out.Trace[1].Err, c.part)
				}
			}
		})
	}
}

func TestEffectsThatCannotBeCountedDeny(t *testing.T) {
	facts := transfer()
	facts.Meaning.Effects.Moves[0].Amount = nil
	out := decide(t, facts, allow(`true`))
	if out.Verdict != rules.Deny || !hasReason(out.Reasons, rules.CodeFailed, "cannot be counted") {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
}

func TestCancelledEvaluationDenies(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := compile(t, documentOf(allow(`true`)), "approval").Evaluate(ctx, transfer())
	if out.Verdict != rules.Deny || !hasReason(out.Reasons, rules.CodeFailed, "cancelled") {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
}

// TestTotalCost: many rules that each stay within their cost do not together
// take for ever.
func TestTotalCost(t *testing.T) {
	facts := transfer()
	facts.Meaning.Effects.Moves = slices.Repeat(facts.Meaning.Effects.Moves, 50)
	var list []document.Rule
	for i := range 60 {
		r := deny(`tx.moves.exists(a, tx.moves.exists(b, a.amount + b.amount == amount(1)))`)
		r.ID = fmt.Sprint(i)
		list = append(list, r)
	}
	out := decide(t, facts, append(list, allow(`true`))...)
	if out.Verdict != rules.Deny || !strings.Contains(out.Trace[59].Err, "together cost more") || out.Trace[0].Err != "" {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
}

// TestOrderDoesNotMatter: the verdict is of the rules, not of their order, and
// neither are the reasons but for their order.
func TestOrderDoesNotMatter(t *testing.T) {
	pool := []document.Rule{
		allow(`true`), allow(`tx.nonce == 7u`), allow(`false`), ask(`tx.nonce > 3u`), ask(`tx.nonce > 9u`), ask(`signal.first_use()`),
		deny(`tx.nonce > 9u`), deny(`tx.nonce == 7u`), deny(`listed("blocked", tx.to)`), allow(failing), deny(failing), deny(`signal.gas(7u)`),
	}
	for i := range pool {
		pool[i].ID = fmt.Sprint("rule ", i)
	}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[rules.Verdict]int{}
	for range 300 {
		random.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		list := slices.Clone(pool[:1+random.IntN(4)])
		first := decide(t, transfer(), list...)
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		second := decide(t, transfer(), list...)
		seen[first.Verdict]++
		if first.Verdict != second.Verdict || !sameReasons(first.Reasons, second.Reasons) {
			t.Fatalf("%v:\n%s %v\n%s %v", list, first.Verdict, first.Reasons, second.Verdict, second.Reasons)
		}
	}
	if len(seen) != 3 {
		t.Errorf("only %v was seen", seen)
	}
}

func sameReasons(a, b []message.Reason) bool {
	order := func(x, y message.Reason) int { return strings.Compare(x.Code+x.Detail, y.Code+y.Detail) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

func TestExplain(t *testing.T) {
	when := `tx.value > units("eth", "1") || history.sum("wallet", asset("eth"), duration("24h")) > tx.fee || tx.value > 7`
	other := allow(`true`)
	other.Kinds = []message.Kind{message.KindWalletCreate}
	out := decide(t, transfer(), allow(when), other, deny(`tx.priority_fee_per_gas - 2000000000 > 5`))
	want := []string{
		`tx.value = 0 (0 eth); history.sum("wallet", "eip155:1/slip44:60", 24h) = 0 (0 eth); tx.fee = 2100000000000000 (0.0021 eth)`,
		`the rule is about other kinds`,
		`tx.priority_fee_per_gas = 1000000000`,
	}
	for i, step := range out.Trace {
		if step.Why != want[i] {
			t.Errorf("%s\n got %s\nwant %s", step.Rule, step.Why, want[i])
		}
	}
	if again := decide(t, transfer(), allow(when)); again.Trace[0].Why != want[0] {
		t.Errorf("not stable: %s", again.Trace[0].Why)
	}
	quiet := compile(t, documentOf(allow(when)), "approval").Evaluate(t.Context(), transfer())
	if quiet.Trace[0].Why != "" {
		t.Errorf("Evaluate explains: %s", quiet.Trace[0].Why)
	}
}

// TestConcurrentEvaluation: one set serves many requests at once.
func TestConcurrentEvaluation(t *testing.T) {
	set := compile(t, documentOf(
		allow(`tx.moves.exists(m, m.amount == units("usdc", "2.5")) && now.getHours("Europe/Zurich") == 13`),
		deny(`tx.calls.exists(c, c.args.value > amount(9000000)) || signal.listed("blocked")`)), "approval")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if out := set.Explain(t.Context(), transfer()); out.Verdict != rules.Allow {
					t.Errorf("%s %v", out.Verdict, out.Reasons)
				}
			}
		})
	}
	group.Wait()
}
