package rules

import (
	"math/big"
	"strings"
	"time"

	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction"
)

// Form says what an argument must be beyond its type. Names are literals, so that
// a misspelt one is found when the document is loaded.
type Form string

// The forms of arguments.
const (
	Any        Form = "any value"
	Account    Form = "an account (CAIP-10), such as tx.to"
	Address    Form = "an address without its chain, such as typed.message.spender"
	ListName   Form = "the id of a list, as a literal"
	GroupName  Form = "the id of a group, as a literal"
	AssetName  Form = "the id of an asset, as a literal"
	AssetID    Form = "an asset (CAIP-19), such as asset(\"eth\")"
	Decimal    Form = "a number such as \"1.5\", as a literal"
	Scope      Form = "\"user\", \"wallet\", \"account\" or \"asset\""
	CountScope Form = "\"user\", \"wallet\" or \"account\""
	Habitual   Form = "\"user\" or \"wallet\""
	Window     Form = "duration(\"...\") above 0 and of at most 2562047h47m16s, as a literal"
	Zone       Form = "a time zone such as \"Europe/Zurich\", as a literal"
	Sum        Form = "an amount, such as units(\"eth\", \"0.0000003\") or amount(\"300000000000\")"
	Unsigned   Form = "an unsigned number, such as 500000u"
	Whole      Form = "a whole number, such as 64"
	Real       Form = "a number with a point, such as 3.5"
)

// Argument is a parameter of a function.
type Argument struct {
	Name string
	Type *types.Type
	Form Form
}

// Function is a function of ours that conditions may call.
type Function struct {
	Name   string
	Args   []Argument
	Result *types.Type
	Doc    string
	// Cost is what a call adds to the cost of a rule.
	Cost uint64
	// History says that it needs the records of what was approved before.
	History bool

	member bool
	call   func(e *evaluation, args []ref.Val) ref.Val
}

// Functions returns the functions that conditions may call beside those of CEL
// itself, for documentation.
func Functions() []Function { return allFunctions() }

func allFunctions() []Function {
	out := append(plainFunctions(), historyFunctions()...)
	out = append(out, signalFunctions()...)
	return append(out, timeFunctions()...)
}

func plainFunctions() []Function {
	text, account := types.StringType, Argument{"account", types.StringType, Account}
	book := Argument{"list", text, ListName}
	return []Function{
		{Name: "asset", Args: []Argument{{"id", text, AssetName}}, Result: text, Cost: 1, call: assetOf,
			Doc: "the CAIP-19 id of an asset of the document"},
		{Name: "units", Args: []Argument{{"asset", text, AssetName}, {"number", text, Decimal}}, Result: amountType, Cost: 1, call: unitsOf,
			Doc: "base units of a number of whole units, by the asset's decimals"},
		{Name: "amount_of", Args: []Argument{{"asset", text, AssetID}}, Result: amountType, Cost: 10, call: amountOf,
			Doc: "how much of the asset the request puts at risk, as in `tx.amounts`; 0 if none"},
		{Name: "amount_to", Args: []Argument{{"destination", text, Account}, {"asset", text, AssetID}}, Result: amountType, Cost: 10, call: amountTo,
			Doc: "how much of the asset the request moves to the destination or lets it take, all of it together; 0 if nothing"},
		{Name: "account", Args: []Argument{{"address", text, Address}}, Result: text, Cost: 2, call: accountOf,
			Doc: "the account (CAIP-10) of an address on the request's chain, also where that stands before it already; an error if it is no address (0x and 40 hex digits, mixed case as of EIP-55)"},
		{Name: "listed", Args: []Argument{book, account}, Result: types.BoolType, Cost: 5, call: listed,
			Doc: "whether the account stands in the list"},
		{Name: "labelled", Args: []Argument{book, account}, Result: text, Cost: 5, call: labelled,
			Doc: "the label of the list's entry; empty if there is no entry or no label"},
		{Name: "entry_age", Args: []Argument{book, account}, Result: types.DurationType, Cost: 5, call: entryAge,
			Doc: "how long the account has been in the list (`since`); an error if it is not, or the entry has no `since`"},
		{Name: "member", Args: []Argument{{"group", text, GroupName}, {"id", text, Any}}, Result: types.BoolType, Cost: 5, call: member,
			Doc: "whether a user or approver is in the group"},
	}
}

func historyFunctions() []Function {
	scope, asset, window := Argument{"scope", types.StringType, Scope}, Argument{"asset", types.StringType, AssetID},
		Argument{"window", types.DurationType, Window}
	destination := Argument{"destination", types.StringType, Account}
	const cost = 50
	return []Function{
		{Name: "history.sum", Args: []Argument{scope, asset, window}, Result: amountType, Cost: cost, History: true, call: historySum,
			Doc: "how much of the asset this role approved within the window, this request left out"},
		{Name: "history.count", Args: []Argument{{"scope", types.StringType, CountScope}, window}, Result: types.IntType, Cost: cost, History: true, call: historyCount,
			Doc: "how many requests this role approved within the window"},
		{Name: "history.count_of", Args: []Argument{scope, asset, window}, Result: types.IntType, Cost: cost, History: true, call: historyCountOf,
			Doc: "the same, of those with the asset; of the native coin those too that pay no more than their fee in it"},
		{Name: "history.sum_to", Args: []Argument{destination, asset, window}, Result: amountType, Cost: cost, History: true, call: historySumTo,
			Doc: "how much of the asset was approved for the destination"},
		{Name: "history.count_to", Args: []Argument{destination, window}, Result: types.IntType, Cost: cost, History: true, call: historyCountTo,
			Doc: "how many requests with the destination were approved"},
	}
}

// timeFunctions replace CEL's own, which load the time zone anew at each call.
func timeFunctions() []Function {
	function := func(name, doc string, of func(time.Time) int) Function {
		return Function{
			Name: name, member: true, Result: types.IntType, Cost: 1, Doc: doc,
			Args: []Argument{{"time", types.TimestampType, Any}, {"zone", types.StringType, Zone}},
			call: func(e *evaluation, args []ref.Val) ref.Val {
				t, ok := args[0].(types.Timestamp)
				if !ok {
					return types.MaybeNoSuchOverloadErr(args[0])
				}
				if len(args) == 1 {
					return types.Int(of(t.UTC()))
				}
				zone, ok := e.set.book.zones[string(args[1].(types.String))]
				if !ok {
					return types.NewErr("the time zone is not known")
				}
				return types.Int(of(t.In(zone)))
			},
		}
	}
	return []Function{
		function("getFullYear", "the year", time.Time.Year),
		function("getMonth", "the month, 0 to 11", func(t time.Time) int { return int(t.Month()) - 1 }),
		function("getDate", "the day of the month, 1 to 31", time.Time.Day),
		function("getDayOfMonth", "the day of the month, 0 to 30", func(t time.Time) int { return t.Day() - 1 }),
		function("getDayOfWeek", "the day of the week, 0 (Sunday) to 6", func(t time.Time) int { return int(t.Weekday()) }),
		function("getDayOfYear", "the day of the year, 0 to 365", func(t time.Time) int { return t.YearDay() - 1 }),
		function("getHours", "the hour, 0 to 23", time.Time.Hour),
		function("getMinutes", "the minute", time.Time.Minute),
		function("getSeconds", "the second", time.Time.Second),
	}
}

// ResolveFunction implements cel.FunctionActivation. A function that panics
// fails, like any other error.
func (e *evaluation) ResolveFunction(name string) (functions.LateBoundOp, bool) {
	f, ok := e.set.env.functions[name]
	if !ok {
		return nil, false
	}
	return func(_ string, args ...ref.Val) ref.Val {
		v := e.apply(f, args)
		if e.reads != nil {
			e.reads.add(callInWords(f, args), e.inWords(v, f.asset(args)))
		}
		return v
	}, true
}

func (e *evaluation) apply(f *Function, args []ref.Val) ref.Val {
	if f.History && e.facts.History == nil {
		return types.NewErr("%s: there is no history", f.Name)
	}
	if err := f.inForm(args); err != nil {
		return types.WrapErr(err)
	}
	return e.answers.of(e, f, args)
}

func text(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

func assetOf(e *evaluation, args []ref.Val) ref.Val {
	a, ok := e.set.book.assets[text(args[0])]
	if !ok {
		return types.NewErr("there is no asset %q", text(args[0]))
	}
	return types.String(a.Asset)
}

func unitsOf(e *evaluation, args []ref.Val) ref.Val {
	a, ok := e.set.book.assets[text(args[0])]
	if !ok {
		return types.NewErr("there is no asset %q", text(args[0]))
	}
	n, err := baseUnits(text(args[1]), a.Decimals)
	if err != nil {
		return types.WrapErr(err)
	}
	return newAmount(n)
}

func amountOf(e *evaluation, args []ref.Val) ref.Val {
	amounts, err := e.exposed()
	switch {
	case err != nil:
		return types.WrapErr(err)
	case !e.signs():
		return absent("amounts")
	}
	for _, a := range amounts {
		if a.Asset == text(args[0]) {
			return newAmount(a.Amount)
		}
	}
	return newAmount(zero)
}

// gain is a destination with an asset that a request gives it.
type gain struct{ destination, asset string }

func amountTo(e *evaluation, args []ref.Val) ref.Val {
	_, err := e.exposed() // refuses amounts that cannot be added
	switch {
	case err != nil:
		return types.WrapErr(err)
	case !e.signs():
		return absent("amounts")
	}
	if n, ok := e.gains()[gain{transaction.Canonical(text(args[0])), text(args[1])}]; ok {
		return newAmount(n)
	}
	return newAmount(zero)
}

// gains are what each destination gets and may take, added up once.
func (e *evaluation) gains() map[gain]*big.Int {
	if e.gained != nil {
		return e.gained
	}
	e.gained = map[gain]*big.Int{}
	add := func(destination, asset string, n *big.Int) {
		g := gain{transaction.Canonical(destination), asset}
		if e.gained[g] == nil {
			e.gained[g] = new(big.Int)
		}
		e.gained[g].Add(e.gained[g], n)
	}
	for _, m := range e.facts.Meaning.Effects.Moves {
		add(m.To, m.Asset, m.Amount)
	}
	for _, a := range e.facts.Meaning.Effects.Allowances {
		add(a.Spender, a.Asset, a.Amount)
	}
	return e.gained
}

// list returns the list that a call names. The check at load makes sure that
// there is one.
func (e *evaluation) list(v ref.Val) (*listing, error) {
	l, ok := e.set.book.lists[text(v)]
	if !ok {
		return nil, errNoList(text(v))
	}
	return l, nil
}

func listed(e *evaluation, args []ref.Val) ref.Val {
	l, err := e.list(args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(l.has(transaction.Canonical(text(args[1]))))
}

func labelled(e *evaluation, args []ref.Val) ref.Val {
	l, err := e.list(args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	return types.String(l.entries[transaction.Canonical(text(args[1]))].Label)
}

func entryAge(e *evaluation, args []ref.Val) ref.Val {
	l, err := e.list(args[0])
	if err != nil {
		return types.WrapErr(err)
	}
	entry, ok := l.entries[transaction.Canonical(text(args[1]))]
	switch {
	case !ok:
		return types.NewErr("list %s has no entry for %s", l.id, bounded(text(args[1])))
	case entry.Since.IsZero():
		return types.NewErr("list %s does not say since when %s is in it", l.id, entry.Account)
	}
	return types.Duration{Duration: e.facts.Now.Sub(entry.Since.Time)}
}

func member(e *evaluation, args []ref.Val) ref.Val {
	group, ok := e.set.book.groups[text(args[0])]
	if !ok {
		return types.NewErr("there is no group %q", text(args[0]))
	}
	return types.Bool(group[text(args[1])])
}

// scopeID is the id that a scope stands for in this request.
func (e *evaluation) scopeID(scope, asset string) (string, ref.Val) {
	var id string
	switch scope {
	case ledger.ScopeUser:
		id = e.facts.User.ID
	case ledger.ScopeWallet:
		id = e.facts.Meaning.Wallet
	case ledger.ScopeAccount:
		id = e.facts.Meaning.Address()
	case ledger.ScopeAsset:
		id = asset
	}
	if id == "" {
		return "", types.NewErr("the request has no %s to look up", scope)
	}
	return id, nil
}

func window(v ref.Val) time.Duration {
	d, _ := v.(types.Duration)
	return d.Duration
}

// look counts an asset that the request brings and of which the past is looked up,
// and fails where there are too many. Those of the document are the admins' choice.
func (e *evaluation) look(asset string) (failed ref.Val) {
	if e.looked[asset] || e.set.book.named[asset] != nil || e.set.book.literal[asset] {
		return nil
	}
	if len(e.looked) == maxAssets {
		return types.NewErr("the past of more than %d assets was to be looked up", maxAssets)
	}
	if e.looked == nil {
		e.looked = map[string]bool{}
	}
	e.looked[asset] = true
	return nil
}

func historySum(e *evaluation, args []ref.Val) ref.Val {
	scope, asset := text(args[0]), text(args[1])
	id, failed := e.scopeID(scope, asset)
	if failed == nil {
		failed = e.look(asset)
	}
	if failed != nil {
		return failed
	}
	return newAmount(e.facts.History.Sum(scope, id, asset, window(args[2])))
}

func historyCount(e *evaluation, args []ref.Val) ref.Val { return e.count(text(args[0]), "", args[1]) }

func historyCountOf(e *evaluation, args []ref.Val) ref.Val {
	return e.count(text(args[0]), text(args[1]), args[2])
}

func (e *evaluation) count(scope, asset string, w ref.Val) ref.Val {
	id, failed := e.scopeID(scope, asset)
	if failed == nil {
		failed = e.look(asset)
	}
	if failed != nil {
		return failed
	}
	return types.Int(e.facts.History.Count(scope, id, asset, window(w)))
}

func historySumTo(e *evaluation, args []ref.Val) ref.Val {
	to, asset := transaction.Canonical(text(args[0])), text(args[1])
	if failed := e.look(asset); failed != nil {
		return failed
	}
	return newAmount(e.facts.History.Sum(ledger.ScopeDestination, to, asset, window(args[2])))
}

func historyCountTo(e *evaluation, args []ref.Val) ref.Val {
	to := transaction.Canonical(text(args[0]))
	return types.Int(e.facts.History.Count(ledger.ScopeDestination, to, "", window(args[1])))
}

// asset is the asset that a call is about; empty where it is about none.
func (f *Function) asset(args []ref.Val) string {
	for i, a := range f.Args {
		if a.Form == AssetID {
			return text(args[i])
		}
	}
	return ""
}

// callInWords writes a call as it stands in a condition.
func callInWords(f *Function, args []ref.Val) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = literal(a)
	}
	if f.member {
		return words[0] + "." + f.Name + "(" + strings.Join(words[1:], ", ") + ")"
	}
	return f.Name + "(" + strings.Join(words, ", ") + ")"
}
