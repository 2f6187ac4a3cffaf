package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// warnings are those of approval rules, without those about unused names, and that the
// rules do not compile.
func warnings(list ...document.Rule) (out []string) {
	doc := documentOf(list...)
	doc.Approval = document.Approval{Approvers: []string{"bob"}, Quorum: 1}
	for _, w := range rules.Check(doc, nil) {
		if w.Role == message.RoleApproval && (w.Rule != "" || w.Code == rules.WarnFaulty) {
			out = append(out, w.Code+" "+w.Rule)
		}
	}
	return out
}

// asking makes a rule that asks others than the section approval does.
func asking(id string, quorum int, approvers ...string) document.Rule {
	r := of(id, ask(`tx.nonce > 3u`))
	r.Approvers, r.Quorum = approvers, quorum
	return r
}

// of makes a rule one of transactions, under another id.
func of(id string, r document.Rule) document.Rule {
	r.ID, r.Kinds = id, transactions
	return r
}

func TestCheck(t *testing.T) {
	wide := allow(`tx.nonce > 3u`)
	wide.UnknownCalls, wide.ID, wide.Kinds = true, "w", transactions
	ignored := of("a", allow(`tx.nonce > 1u`))
	ignored.Quorum = 2
	for name, c := range map[string]struct {
		rules []document.Rule
		want  []string
	}{
		"nothing to say":              {[]document.Rule{of("a", allow(`tx.value < 5`)), of("d", deny(`tx.nonce > 9u`))}, nil},
		"allows everything":           {[]document.Rule{allow(`true`)}, []string{"allows_everything true"}},
		"allows by another name":      {[]document.Rule{allow(`1 < 2 || request.id == "x"`)}, []string{"allows_everything 1 < 2 || request.id == \"x\""}},
		"true of its kinds":           {[]document.Rule{of("a", allow(`true`))}, nil},
		"always true":                 {[]document.Rule{of("a", allow(`tx.value < 5 || true`))}, []string{"always_true a"}},
		"always true by units":        {[]document.Rule{of("a", allow(`units("eth", "1") > units("eth", "0.5")`))}, []string{"always_true a"}},
		"always false":                {[]document.Rule{of("a", allow(`tx.value < 5 && "a" == "b"`))}, []string{"always_false a"}},
		"deny always":                 {[]document.Rule{of("a", allow(`tx.value < 5`)), of("d", deny(`1 < 2`))}, []string{"always_true d", "unreachable a"}},
		"same condition":              {[]document.Rule{of("a", allow(`tx.value < 5`)), of("d", deny(`tx.value<5`))}, []string{"unreachable a"}},
		"a part of it":                {[]document.Rule{of("d", deny(`tx.nonce > 9u || tx.gas_limit > 1u`)), of("a", allow(`tx.value < 5 && tx.gas_limit > 1u`))}, []string{"unreachable a"}},
		"other kinds":                 {[]document.Rule{of("a", allow(`request.id == "x"`)), {ID: "d", Effect: "deny", When: `request.id == "x"`, Kinds: []message.Kind{message.KindWalletCreate}}}, nil},
		"all kinds":                   {[]document.Rule{of("a", allow(`request.id == "x"`)), deny(`request.id == "x"`)}, []string{"unreachable a"}},
		"allow under ask":             {[]document.Rule{of("s", ask(`tx.nonce > 3u`)), of("a", allow(`tx.nonce > 3u`))}, []string{"unreachable a"}},
		"unknown under ask":           {[]document.Rule{of("s", ask(`tx.nonce > 3u`)), wide}, nil},
		"duplicate":                   {[]document.Rule{of("a", allow(`tx.nonce > 3u`)), of("b", allow(`tx.nonce  > 3u`))}, []string{"duplicate_condition b"}},
		"ask the same":                {[]document.Rule{asking("a", 2, "bob", "rob"), asking("b", 2, "rob", "bob")}, []string{"duplicate_condition b"}},
		"ask by the section":          {[]document.Rule{asking("a", 0), asking("b", 1, "bob")}, []string{"duplicate_condition b"}},
		"ask others":                  {[]document.Rule{asking("a", 1, "bob"), asking("b", 1, "rob")}, nil},
		"ask others besides":          {[]document.Rule{asking("a", 0), asking("b", 1, "rob")}, nil},
		"ask more of them":            {[]document.Rule{asking("a", 1, "bob", "rob"), asking("b", 2, "bob", "rob")}, nil},
		"kinds missing":               {[]document.Rule{deny(`tx.value > 5`)}, []string{"not_of_all_kinds tx.value > 5"}},
		"kind looked at":              {[]document.Rule{deny(`request.kind == "ethereum.transaction" && tx.value > 5`)}, nil},
		"freezes are not asked":       {[]document.Rule{of("a", deny(`request.id == "x"`)), {ID: "w", Effect: "deny", When: `wallet.owner == "ada"`, Kinds: []message.Kind{message.KindWalletCreate, message.KindAccountCreate}}}, nil},
		"no such user":                {[]document.Rule{of("a", deny(`user.id in ["ada", "alcie"]`))}, []string{"not_in_document a"}},
		"no such owner":               {[]document.Rule{of("a", deny(`wallet.owner != "alcie"`))}, []string{"not_in_document a"}},
		"another chain":               {[]document.Rule{of("a", deny(`tx.chain in ["eip155:1", "eip155:10"]`))}, []string{"not_in_document a"}},
		"another asset":               {[]document.Rule{of("a", deny(`tx.moves.exists(m, m.asset == "eip155:61/slip44:60")`))}, []string{"not_in_document a"}},
		"amount of another asset":     {[]document.Rule{of("a", deny(`amount_of("eip155:61/slip44:60") > 5`))}, []string{"not_in_document a"}},
		"all that the document knows": {[]document.Rule{of("a", deny(`tx.chain == "eip155:1" && tx.moves.exists(m, m.asset == "eip155:1/slip44:60") && user.id == "ada"`))}, nil},
		"approvers ignored":           {[]document.Rule{ignored}, []string{"approvers_ignored a"}},
		"absorbed difference":         {[]document.Rule{of("a", deny(`tx.cost - tx.fee > 5 || tx.nonce > 3u`))}, []string{"absorbed_error a"}},
		"difference at the end":       {[]document.Rule{of("a", deny(`tx.nonce > 3u || tx.cost - tx.fee > 5`))}, nil},
		"absorbed by and":             {[]document.Rule{of("a", deny(`tx.fee / tx.value > 5 && tx.nonce > 3u`))}, []string{"absorbed_error a"}},
		"division by a number":        {[]document.Rule{of("a", deny(`tx.fee / 2 > 5 && tx.nonce > 3u`))}, nil},
		"absorbed age":                {[]document.Rule{of("a", deny(`entry_age("partners", tx.to) < duration("1h") || tx.nonce > 3u`))}, []string{"absorbed_error a"}},
		"absorbed by elements":        {[]document.Rule{of("a", deny(`tx.destinations.exists(d, entry_age("partners", d) < duration("1h"))`))}, []string{"absorbed_error a"}},
		"guarded elements":            {[]document.Rule{of("a", deny(`tx.destinations.exists(d, !listed("partners", d))`))}, nil},
		"absorbed argument":           {[]document.Rule{of("a", deny(`tx.calls.exists(c, c.args.value > amount(5))`))}, []string{"absorbed_error a"}},
		"absorbed kind":               {[]document.Rule{deny(`tx.value > 5 || user.id == "ada"`)}, []string{"not_of_all_kinds tx.value > 5 || user.id == \"ada\"", "absorbed_error tx.value > 5 || user.id == \"ada\""}},
		"absorbed signal":             {[]document.Rule{deny(`signal.gas(5u) || user.id == "ada"`)}, []string{"not_of_all_kinds signal.gas(5u) || user.id == \"ada\"", "absorbed_error signal.gas(5u) || user.id == \"ada\""}},
		"absorbed history": {[]document.Rule{deny(`history.count("account", duration("1h")) > 5 || user.id == "ada"`)}, []string{
			`not_of_all_kinds history.count("account", duration("1h")) > 5 || user.id == "ada"`,
			`absorbed_error history.count("account", duration("1h")) > 5 || user.id == "ada"`,
		}},
		"history of the user": {[]document.Rule{deny(`history.count("user", duration("1h")) > 5 || user.id == "ada"`)}, nil},
		"absorbed fee":        {[]document.Rule{of("a", deny(`tx.priority_fee_per_gas > 5 || tx.nonce > 3u`))}, []string{"absorbed_error a"}},
		"an index":            {[]document.Rule{of("a", deny(`tx.moves[0].amount > 5 || tx.nonce > 3u`))}, []string{"absorbed_error a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := warnings(c.rules...); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCheckOfTheDocument(t *testing.T) {
	doc := documentOf(of("a", ask(`tx.moves.all(m, m.asset == asset("eth")) && listed("partners", tx.to)`)))
	doc.Rules.Fraud = []document.Rule{of("d", deny(`tx.value > 5`))}
	doc.Groups = append(doc.Groups, document.Group{ID: "board"})
	doc.Rules.Approval[0].Approvers = []string{"board"}
	var got []string
	for _, w := range rules.Check(doc, nil) {
		if w.Detail == "" {
			t.Errorf("%+v says nothing", w)
		}
		got = append(got, strings.Join([]string{w.Role, w.Rule, w.Code}, "/")+" "+strings.Join(strings.Fields(w.Detail)[:2], " "))
	}
	want := []string{
		"authorization//section_denies_all no rule", "fraud//section_denies_all no rule",
		"//unused list blocked", "//unused group treasury", "//unused asset usdc",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	doc.Calls = []document.Call{{Function: "transfer(uint)"}}
	faulty := rules.Check(doc, nil)
	if len(faulty) != 3 || faulty[0].Code != rules.WarnFaulty || !strings.Contains(faulty[0].Detail, "transfer(uint)") {
		t.Errorf("%+v", faulty)
	}
}

// TestLongWindow: rules that look back more than a year are warned of, since that
// costs memory.
func TestLongWindow(t *testing.T) {
	for window, want := range map[string]bool{"744h": false, "8784h": false, "8785h": true, "2562047h47m16s": true} {
		rule := of("d", deny(`history.count("user", duration("`+window+`")) > 5`))
		warned := slices.ContainsFunc(rules.Check(documentOf(rule), nil), func(w rules.Warning) bool {
			return w.Code == rules.WarnLongWindow && w.Role == message.RoleApproval && strings.Contains(w.Detail, window)
		})
		if warned != want {
			t.Errorf("%s: warned %v", window, warned)
		}
	}
}

// TestKindsThatRulesAreAskedAbout: a warning names no freeze, for no rule is asked
// about one.
func TestKindsThatRulesAreAskedAbout(t *testing.T) {
	found := false
	for _, w := range rules.Check(documentOf(deny(`tx.value > 5`)), nil) {
		if w.Code == rules.WarnKinds {
			found = strings.Contains(w.Detail, "wallet.create, account.create")
			if strings.Contains(w.Detail, "freeze") {
				t.Errorf("%s", w.Detail)
			}
		}
	}
	if !found {
		t.Error("no warning of the kinds that lack a variable")
	}
}

// TestWarningsOfTheBenchmark: a document of 200 sensible rules is not buried in
// warnings.
func TestWarningsOfTheBenchmark(t *testing.T) {
	for _, w := range rules.Check(bookOf200(), nil) {
		if w.Role == message.RoleFraud {
			t.Errorf("%+v", w)
		}
	}
}

// TestKindsOfFunctions: a function that some kinds of a rule have nothing for is
// warned of, for the rule fails there; and it does fail.
func TestKindsOfFunctions(t *testing.T) {
	transaction, account, wallet := message.KindEthereumTransaction, message.KindAccountCreate, message.KindWalletCreate
	signed := []message.Kind{transaction, message.KindEthereumMessage, message.KindEthereumTypedData}
	every := append(slices.Clone(signed), account, wallet, message.KindPolicyUpdate)
	for when, having := range map[string][]message.Kind{
		`signal.first_use()`:                                                signed,
		`signal.lookalike()`:                                                signed,
		`signal.duplicate(duration("1h"))`:                                  signed,
		`signal.unusual("user", 3.5)`:                                       signed,
		`signal.listed("blocked")`:                                          signed,
		`amount_of(asset("eth")) > 5`:                                       signed,
		`amount_to("` + bob + `", asset("eth")) > 5`:                        signed,
		`signal.fee(amount(1), amount(2))`:                                  {transaction},
		`signal.gas(5u)`:                                                    {transaction},
		`signal.nonce_reused()`:                                             {transaction},
		`signal.nonce_replaces()`:                                           {transaction},
		`signal.nonce_gap(5)`:                                               {transaction},
		`history.count("account", duration("1h")) > 5`:                      signed,
		`history.count_of("wallet", asset("eth"), duration("1h")) > 5`:      append(slices.Clone(signed), account, wallet),
		`history.sum("account", asset("eth"), duration("1h")) == amount(0)`: signed,
		`history.sum("user", asset("eth"), duration("1h")) == amount(0)`:    every,
		`history.sum("asset", asset("eth"), duration("1h")) == amount(0)`:   every,
	} {
		for _, kind := range every {
			rule := deny(when)
			rule.Kinds = []message.Kind{transaction, kind}
			var warned bool
			for _, w := range warnings(rule) {
				warned = warned || strings.HasPrefix(w, rules.WarnKinds)
			}
			if has := slices.Contains(having, kind); warned == has {
				t.Errorf("%s, %s: warned %v", when, kind, warned)
			}
		}
		for kind, facts := range map[message.Kind]rules.Facts{wallet: creation(), message.KindEthereumTypedData: permit()} {
			if failed := strings.HasPrefix(value(t, facts, when), "error"); failed == slices.Contains(having, kind) {
				t.Errorf("%s, %s: fails %v", when, kind, failed)
			}
		}
	}
}

// TestLimitWithoutTheRequest: a limit for a sum of the past that leaves out the request
// lets one of any amount pass, as far as the one rule goes.
func TestLimitWithoutTheRequest(t *testing.T) {
	const sum = `history.sum("wallet", asset("eth"), duration("24h"))`
	for name, c := range map[string]struct {
		rule document.Rule
		want bool
	}{
		"deny above":           {deny(sum + ` > units("eth", "100")`), true},
		"deny from":            {deny(`units("eth", "100") <= ` + sum), true},
		"ask above":            {ask(`tx.nonce > 3u && ` + sum + ` > 100`), true},
		"allow below":          {allow(sum + ` < units("eth", "100")`), true},
		"allow, not above":     {allow(`!(` + sum + ` > units("eth", "100"))`), true},
		"two sums":             {deny(sum + ` + ` + sum + ` * 2 > units("eth", "100")`), true},
		"to one":               {deny(`history.sum_to(tx.to, asset("eth"), duration("24h")) > units("eth", "100")`), true},
		"with the request":     {deny(sum + ` + amount_of(asset("eth")) > units("eth", "100")`), false},
		"with its value":       {deny(sum + ` + tx.value > units("eth", "100")`), false},
		"besides":              {deny(sum + ` > units("eth", "100") && amount_of(asset("eth")) > units("eth", "1")`), false},
		"with moves":           {deny(sum + ` > 100 && tx.moves.exists(m, m.amount > 5)`), false},
		"anything at all":      {deny(sum + ` > 0`), false},
		"nothing yet":          {ask(sum + ` == amount(0)`), false},
		"allow who paid":       {allow(sum + ` > units("eth", "100")`), false},
		"deny who paid little": {deny(sum + ` < units("eth", "100")`), false},
		"what is left":         {deny(`units("eth", "100") - ` + sum + ` > 5`), false},
		"a count":              {deny(`history.count("wallet", duration("1h")) >= 20`), false},
		"without amounts":      {document.Rule{Effect: document.EffectDeny, Kinds: []message.Kind{message.KindWalletCreate}, When: `history.sum("user", asset("eth"), duration("24h")) > 100`}, false},
		"also without amounts": {document.Rule{Effect: document.EffectDeny, Kinds: []message.Kind{message.KindWalletCreate, message.KindEthereumMessage}, When: `history.sum("user", asset("eth"), duration("24h")) > 100`}, true},
		"of all kinds":         {document.Rule{Effect: document.EffectDeny, When: `history.sum("user", asset("eth"), duration("24h")) > 100`}, true},
		"two sums compared":    {deny(sum + ` > history.sum("wallet", asset("eth"), duration("1h"))`), false},
	} {
		if c.rule.ID != "" {
			c.rule.Kinds = transactions
		}
		c.rule.ID = "a"
		found := warnings(c.rule)
		if slices.Contains(found, "request_left_out a") != c.want || slices.Contains(found, "rules_faulty ") {
			t.Errorf("%s: warned %q", name, found)
		}
	}
}
