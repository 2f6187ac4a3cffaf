package rules_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// TestConditionsOfOneTerm: what a condition says of one term, by comparing it with
// literals, is looked at as a whole.
func TestConditionsOfOneTerm(t *testing.T) {
	const never, always = "always_false", "always_true"
	for when, want := range map[string]string{
		`now.getHours("Europe/Zurich") < 6 && now.getHours("Europe/Zurich") >= 22`:           never,
		`now.getHours("Europe/Zurich") < 6 || now.getHours("Europe/Zurich") >= 22`:           "",
		`now.getHours("Europe/Zurich") < 6 && now.getHours() >= 22`:                          "", // two zones
		`now.getHours() > 5 && now.getHours() < 6`:                                           never,
		`now.getHours() < 12 || now.getHours() in [12, 13] || 14 <= now.getHours()`:          always,
		`now.getDayOfWeek() in [0, 1, 2, 3, 4, 5, 6]`:                                        always,
		`now.getDayOfWeek() in [0, 6] && !(now.getDayOfWeek() in [6, 0])`:                    never,
		`amount_of(asset("eth")) > 5 && amount_of(asset("eth")) < 1`:                         never,
		`amount_of(asset("eth")) > 5 && amount_of(asset("usdc")) < 1`:                        "",
		`tx.value > units("eth", "1") && (tx.nonce == 1u || tx.value < units("eth", "0.5"))`: "",
		`tx.value > units("eth", "1") && (tx.nonce < 0u || tx.value < units("eth", "0.5"))`:  never,
		`tx.value > amount("0x10") && tx.value < 18`:                                         "", // 17
		`tx.value > amount("0x10") && tx.value < 17`:                                         never,
		`tx.value >= 0`:       always,
		`tx.nonce >= 0u`:      always,
		`size(tx.moves) >= 0`: always,
		`tx.data_size >= 0`:   "",
		`history.count("user", duration("1h")) == 0 && history.count("user", duration("1h")) > 2`:        never,
		`history.count("user", duration("1h")) == 0 && history.count("user", duration("24h")) > 2`:       "",
		`user.id == "ada" && user.id == "user-10"`:                                                       never,
		`user.id == "ada" || user.id != "ada"`:                                                           always,
		`user.id in ["ada", "user-10"] && user.id != "ada" && user.id != "user-10"`:                      never,
		`user.id == "ada" && !member("treasury", user.id)`:                                               never,
		`user.id == "user-10" && "treasury" in user.groups`:                                              never,
		`"treasury" in user.groups || !member("treasury", user.id)`:                                      always,
		`tx.chain == "eip155:1" && tx.chain == "eip155:10"`:                                              never,
		`request.expires - now > duration("15m") && request.expires - now < duration("10m")`:             never,
		`now < timestamp("2026-01-01T00:00:00Z") && now >= timestamp("2027-01-01T00:00:00Z")`:            never,
		`tx.creates_contract && !tx.creates_contract`:                                                    never,
		`tx.creates_contract || !tx.creates_contract`:                                                    always,
		`!(tx.value > 5 || tx.value < 9)`:                                                                never,
		`!(tx.value > 5 && tx.value < 4)`:                                                                always,
		`(tx.value > 5 ? true : false) && tx.value < 5`:                                                  "", // not looked at
		`tx.value > 5 && tx.value <= 5 && entry_age("partners", tx.to) > duration("1h")`:                 never,
		`entry_age("partners", tx.to) > duration("1h") || entry_age("partners", tx.to) < duration("2h")`: "", // it may fail
		`tx.priority_fee_per_gas > 5 || tx.priority_fee_per_gas <= 5`:                                    "", // a legacy transaction fails
		`tx.moves.exists(m, m.amount > 5 && m.amount < 5)`:                                               "", // not looked at
		`tx.value > 5 && tx.value * 2 < 5`:                                                               "", // two terms
		`tx.from == tx.to && tx.from != tx.to`:                                                           "", // not looked at
		`listed("partners", tx.to) || !listed("partners", tx.to)`:                                        always,
		`history.sum("user", asset("eth"), duration("1h")) >= 0`:                                         always,
		`tx.to.startsWith("eip155:1:") || !tx.to.startsWith("eip155:1:")`:                                always,
		`1 + 1 == 2`: always,
	} {
		var got []string
		for _, w := range warnings(of("a", deny(when))) {
			if code, _, _ := strings.Cut(w, " "); code == never || code == always || code == rules.WarnFaulty {
				got = append(got, code)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
}

// TestKindsThatAConditionTells: what a condition that looks at request.kind reads of which
// kinds is not known, so that nothing is told to be true always.
func TestKindsThatAConditionTells(t *testing.T) {
	if found := warnings(allow(`request.kind == "wallet.create" || tx.value >= 0`)); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

// TestRulesThatNeverDecide: the stronger rule is true, or fails, wherever the weaker
// one is true.
func TestRulesThatNeverDecide(t *testing.T) {
	eth, more := `amount_of(asset("eth")) > 3`, `amount_of(asset("eth")) > 1 || tx.nonce > 5u`
	for name, c := range map[string]struct {
		strong, weak document.Rule
		want         bool
	}{
		"above a lower limit":       {ask(more), allow(eth), true},
		"below a lower limit":       {ask(eth), allow(more), false},
		"each part":                 {deny(`tx.value > 1 && tx.nonce > 2u`), allow(`tx.nonce > 3u && tx.value >= 2 && user.id == "ada"`), true},
		"one part not":              {deny(`tx.value > 1 && tx.nonce > 2u`), allow(`tx.nonce > 1u && tx.value >= 2`), false},
		"every branch":              {deny(`tx.value > 1`), ask(`tx.value == amount(5) || tx.value > 9 && tx.nonce == 0u`), true},
		"all but one branch":        {deny(`tx.value > 1`), ask(`tx.value == amount(5) || tx.nonce == 0u`), false},
		"one of a group":            {deny(`member("treasury", user.id)`), allow(`user.id == "ada"`), true},
		"the others":                {deny(`!member("treasury", user.id)`), allow(`user.id == "ada"`), false},
		"not":                       {deny(`!(tx.value < 5)`), allow(`!(tx.value <= 5)`), true},
		"whatever the request":      {deny(`tx.value > 5 || tx.value < 9`), allow(`tx.nonce > 2u`), true},
		"the weaker is never true":  {deny(`tx.value > 5`), allow(`tx.value > 7 && tx.value < 6`), false},
		"a term that is not known":  {deny(`tx.value > 1 && signal.first_use()`), allow(`tx.value > 2`), false},
		"a term that both have":     {deny(`tx.value > 1 && signal.first_use()`), allow(`tx.value > 2 && signal.first_use()`), true},
		"ask does not overrule ask": {ask(`tx.value > 1`), ask(`tx.value > 2`), false},
	} {
		found := warnings(of("strong", c.strong), of("weak", c.weak))
		if got := slices.Contains(found, "unreachable weak"); got != c.want || slices.Contains(found, "unreachable strong") || slices.Contains(found, "rules_faulty ") {
			t.Errorf("%s: %q", name, found)
		}
	}
}

// hard is a condition that is never true, as whoever goes through 2^20 cases finds.
func hard(n int) string {
	var parts []string
	for i := range 20 {
		parts = append(parts, fmt.Sprintf("(now.getMinutes() + %d > 5 || now.getSeconds() + %d > 5)", i, i))
	}
	for _, pair := range [][2]string{{">", ">"}, {">", "<="}, {"<=", ">"}, {"<=", "<="}} {
		parts = append(parts, fmt.Sprintf("(tx.gas_limit %s %du || tx.nonce %s 5u)", pair[0], n, pair[1]))
	}
	return strings.Join(parts, " && ")
}

// TestAttackHardConditions: one takes no time, and keeps nothing else from being found;
// many together take no time either, and what they leave no time for is not found.
func TestAttackHardConditions(t *testing.T) {
	last := of("last", deny(`tx.value > 5 && tx.value < 1`))
	for _, count := range []int{1, 300} {
		var list []document.Rule
		for i := range count {
			list = append(list, of(fmt.Sprint(i), deny(hard(i))))
		}
		found := warnings(append(list, last)...)
		if slices.Contains(found, "always_false last") != (count == 1) || slices.Contains(found, "rules_faulty ") {
			t.Errorf("%d: %q", count, found)
		}
	}
}

// TestAttackLargeGroups: what a check takes hangs neither on how many members a group has nor
// on how many numbers stand in a list, and of one rule about them the same is found. The
// bound is far above what it takes.
func TestAttackLargeGroups(t *testing.T) {
	group := document.Group{ID: "big"}
	for i := range 3000 {
		group.Members = append(group.Members, fmt.Sprintf("m-%04d", i))
	}
	var numbers []string
	for i := range 600 {
		numbers = append(numbers, fmt.Sprintf("%du", i))
	}
	list := []document.Rule{
		of("empty", deny(`member("big", user.id) && user.id == "ada"`)),
		of("in-two", deny(`tx.nonce in [`+strings.Join(numbers, ",")+`] && tx.nonce > 599u`)),
	}
	for i := range 20 {
		members, nonces := `member("big", user.id)`, `tx.nonce in [`+strings.Join(numbers, ",")+`]`
		for j := range 12 {
			members += fmt.Sprintf(` && (tx.gas_limit > %du || tx.value > %d)`, i*j, i+j)
			nonces += fmt.Sprintf(` && (tx.gas_limit > %du || tx.nonce < %du)`, i*j, i+j)
		}
		list = append(list, of(fmt.Sprint("a", i), ask(members)), of(fmt.Sprint("b", i), deny(members+" || tx.value > 5")), of(fmt.Sprint("c", i), deny(nonces)))
	}
	doc := documentOf(list...)
	doc.Groups = append(doc.Groups, group)
	begin := time.Now()
	found := rules.Check(doc, nil)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, id := range []string{"empty", "in-two"} {
		if !slices.ContainsFunc(found, func(w rules.Warning) bool { return w.Rule == id && w.Code == rules.WarnAlwaysFalse }) {
			t.Errorf("%s is not found: %+v", id, found[0])
		}
	}
}

// TestEverybodyIsAllowed: rules that ask who the user is and let every user of the
// document pass allow everything.
func TestEverybodyIsAllowed(t *testing.T) {
	kinds := []message.Kind{message.KindEthereumTransaction, message.KindWalletCreate}
	of := func(when string, kinds ...message.Kind) document.Rule {
		return document.Rule{ID: when, Effect: document.EffectAllow, When: when, Kinds: kinds}
	}
	for name, c := range map[string]struct {
		rules []document.Rule
		want  bool
	}{
		"a user":                {[]document.Rule{of(`user.id != ""`)}, true},
		"a member of all":       {[]document.Rule{of(`member("desk", user.id)`, kinds...)}, true},
		"a group of all":        {[]document.Rule{of(`"desk" in user.groups`, kinds...)}, true},
		"one by one":            {[]document.Rule{of(`user.id == "ada"`), of(`user.id == "eve"`)}, true},
		"one":                   {[]document.Rule{of(`user.id == "ada"`)}, false},
		"a group of some":       {[]document.Rule{of(`member("some", user.id)`)}, false},
		"not of all kinds":      {[]document.Rule{of(`user.id != ""`, kinds[0])}, false},
		"and something more":    {[]document.Rule{of(`user.id != "" && request.id != "x"`)}, false},
		"the owner":             {[]document.Rule{of(`member("desk", wallet.owner)`, kinds...)}, false},
		"where something fails": {[]document.Rule{of(`user.id != ""`), of(`tx.value < 5`)}, false},
	} {
		doc := &document.Document{
			Users:  []document.User{{ID: "ada"}, {ID: "eve"}},
			Groups: []document.Group{{ID: "desk", Members: []string{"ada", "eve", "bob"}}, {ID: "some", Members: []string{"ada"}}},
			Grants: []document.Grant{{Users: []string{"ada"}, Kinds: kinds}},
			Rules:  document.Rules{Authorization: c.rules, Fraud: c.rules, Approval: c.rules},
		}
		got := slices.ContainsFunc(rules.Check(doc, nil), func(w rules.Warning) bool {
			return w.Code == rules.WarnAllowsAll && w.Role == ""
		})
		if got != c.want {
			t.Errorf("%s: warned %v", name, got)
		}
	}
}

// chance makes conditions of few terms and few numbers, so that many are never or
// always true, or one is true wherever another is.
type chance struct{ *rand.Rand }

func (c chance) of(list ...string) string { return list[c.IntN(len(list))] }

func (c chance) condition(depth int) string {
	switch n := c.IntN(6); {
	case depth == 0 || n == 0:
		return c.atom()
	case n == 1:
		return "!(" + c.condition(depth-1) + ")"
	default:
		return "(" + c.condition(depth-1) + c.of(" && ", " || ") + c.condition(depth-1) + ")"
	}
}

func (c chance) atom() string {
	n, op := c.IntN(4), c.of("<", "<=", ">", ">=", "==", "!=")
	switch c.IntN(10) {
	case 0:
		return fmt.Sprintf("tx.value %s amount(%d)", op, n)
	case 1:
		return fmt.Sprintf("%du %s tx.nonce", n, op)
	case 2:
		return fmt.Sprintf("now.getMinutes() + 1 %s %d", op, n)
	case 3:
		return fmt.Sprintf("size(tx.moves) in [%d, %d]", n, c.IntN(3))
	case 4:
		return "user.id " + c.of("==", "!=") + c.of(` "ada"`, ` "user-10"`, ` "user-11"`)
	case 5:
		return c.of(`member("treasury", user.id)`, `"treasury" in user.groups`)
	case 6:
		return fmt.Sprintf("tx.priority_fee_per_gas %s amount(%d)", op, n) // fails now and then
	case 7:
		return fmt.Sprintf("tx.nonce - 2u %s %du", op, n) // fails now and then
	case 8:
		return fmt.Sprintf("tx.value * %d %s amount(%d)", c.IntN(3), op, n)
	}
	return c.of("tx.creates_contract", "signal.first_use()", "true", "1 > 2")
}

func (c chance) facts() rules.Facts {
	f := transfer()
	f.User.ID = c.of("ada", "user-10", "user-11", "user-12")
	f.Now = f.Now.Add(time.Duration(c.IntN(4)) * time.Minute)
	f.History = &fakeHistory{used: map[string]bool{bob: c.IntN(2) == 0, usdcContract: true}}
	f.Meaning.Effects.Moves = slices.Repeat([]transaction.Move{{Asset: usdc, From: alice, To: bob, Amount: big.NewInt(1)}}, c.IntN(3)+1)
	d := *f.Meaning.Effects.Details
	d.Value, d.Nonce, d.Creates = big.NewInt(int64(c.IntN(5))), number(uint64(c.IntN(5))), c.IntN(2) == 0
	if d.PriorityFeePerGas = nil; c.IntN(3) > 0 {
		d.PriorityFeePerGas = big.NewInt(int64(c.IntN(5)))
	}
	f.Meaning.Effects.Details = &d
	return f
}

// TestWarningsAreRight: no request contradicts a warning, of conditions made by chance.
func TestWarningsAreRight(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(1, 2))}
	count := map[string]int{}
	for range 300 {
		doc := documentOf(of("strong", deny(c.condition(2))), of("weak", allow(c.condition(2))))
		found := map[string]bool{}
		for _, w := range rules.Check(doc, nil) {
			found[w.Code+" "+w.Rule] = true
			count[w.Code]++
		}
		set := compile(t, doc, message.RoleApproval)
		for range 30 {
			trace := set.Explain(t.Context(), c.facts()).Trace
			for i, id := range []string{"strong", "weak"} {
				step := trace[i]
				if step.Value && found["always_false "+id] || !step.Value && found["always_true "+id] {
					t.Errorf("%s: %v %s", doc.Rules.Approval[i].When, step.Value, step.Err)
				}
			}
			if trace[1].Value && !trace[0].Value && trace[0].Err == "" && found["unreachable weak"] {
				t.Errorf("%s does not cover %s", doc.Rules.Approval[0].When, doc.Rules.Approval[1].When)
			}
		}
	}
	for _, code := range []string{"always_false", "always_true", "unreachable"} {
		if count[code] < 10 {
			t.Errorf("%s was warned of %d times", code, count[code])
		}
	}
}
