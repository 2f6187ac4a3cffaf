package rules

import (
	"fmt"
	"math/big"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction"
)

// Codes of the evidence of signals that fired; they are stable.
const (
	CodeFirstUse      = "signal_first_use"
	CodeLookalike     = "signal_lookalike"
	CodeDuplicate     = "signal_duplicate"
	CodeUnusual       = "signal_unusual"
	CodeListed        = "signal_listed"
	CodeFee           = "signal_fee"
	CodeGas           = "signal_gas"
	CodeNonceReused   = "signal_nonce_reused"
	CodeNonceReplaces = "signal_nonce_replaces"
	CodeNonceGap      = "signal_nonce_gap"
)

// signalCost is the cost of a signal: it looks at every destination or asset.
const signalCost = 200

// habitAtLeast is how many earlier amounts make a habit: with fewer, a median
// says nothing.
const habitAtLeast = 8

func signalFunctions() []Function {
	signal := func(name string, history bool, doc string, call func(*evaluation, []ref.Val) ref.Val, args ...Argument) Function {
		return Function{Name: "signal." + name, Args: args, Result: types.BoolType, Doc: doc, Cost: signalCost, History: history, call: call}
	}
	window := Argument{"window", types.DurationType, Window}
	return []Function{
		signal("first_use", true, "a destination that the wallet has never had to do with", firstUse),
		signal("lookalike", true, "a destination that is not known and has the first and last 4 digits of one of the same chain that is: "+
			"used before, or in a list of the document that stands inline", lookalike),
		signal("duplicate", true, "the same amounts of the wallet were approved for the same destinations within the window", duplicate, window),
		signal("unusual", true, "an amount, the fee left out, more than z robust deviations (1.4826 x MAD of log2, but at least 0.25) above the median of at least 8 earlier ones",
			unusual, Argument{"scope", types.StringType, Habitual}, Argument{"z", types.DoubleType, Real}),
		signal("listed", false, "an account that pays, receives, may take or is called, or a token's contract, is in the list",
			onList, Argument{"list", types.StringType, ListName}),
		signal("fee", false, "the highest fee per gas is outside min to max", feeRange,
			Argument{"min", amountType, Sum}, Argument{"max", amountType, Sum}),
		signal("gas", false, "the gas limit is above max", gasAbove, Argument{"max", types.UintType, Unsigned}),
		signal("nonce_reused", true, "the nonce was approved before in another request of the account", nonceReused),
		signal("nonce_replaces", true, "the same, with the same destination, value and data and a higher fee; in sums and counts both requests stand, since both signatures exist", nonceReplaces),
		signal("nonce_gap", true, "the nonce is more than n above the next one expected", nonceGap, Argument{"n", types.IntType, Whole}),
	}
}

// fire keeps the evidence of a signal, each once.
func (e *evaluation) fire(code, format string, args ...any) {
	r := message.Reason{Code: code, Detail: bounded(fmt.Sprintf(format, args...))}
	for _, old := range e.fired {
		if old == r {
			return
		}
	}
	if len(e.fired) < maxEvidence {
		e.fired = append(e.fired, r)
	}
}

// maxEvidence is how many pieces of evidence one request gives: no more would
// be kept.
const maxEvidence = 16

func firstUse(e *evaluation, _ []ref.Val) ref.Val {
	if !e.signs() {
		return absent("destinations")
	}
	fired := false
	for _, to := range e.destinations() {
		if e.facts.History.FirstUse(to) {
			fired = true
			e.fire(CodeFirstUse, "first_use: the wallet has never had to do with %s", to)
		}
	}
	return types.Bool(fired)
}

func lookalike(e *evaluation, _ []ref.Val) ref.Val {
	if !e.signs() {
		return absent("destinations")
	}
	fired := false
	for _, to := range e.destinations() {
		known, where := e.lookalikeOf(to)
		if known != "" {
			fired = true
			e.fire(CodeLookalike, "lookalike: %s resembles %s, %s", to, known, where)
		}
	}
	return types.Bool(fired)
}

// lookalikeOf returns what an unknown destination resembles, and where that is
// known. Whoever was paid before or stands in a list is no lookalike.
func (e *evaluation) lookalikeOf(to string) (known, where string) {
	b := e.set.book
	if _, itself := b.known[to]; itself || !e.facts.History.FirstUse(to) {
		return "", ""
	}
	if known, ok := b.resembles(to); ok {
		return known, "which is in list " + b.known[known]
	}
	if known, ok := e.facts.History.Lookalike(to); ok {
		return known, "which was used before"
	}
	return "", ""
}

func duplicate(e *evaluation, args []ref.Val) ref.Val {
	if !e.signs() {
		return absent("content")
	}
	within := window(args[0])
	n := e.facts.History.Duplicates(within)
	if n > 0 {
		e.fire(CodeDuplicate, "duplicate: the same amounts for the same destinations were approved %d times within %s", n, shortDuration(within))
	}
	return types.Bool(n > 0)
}

func unusual(e *evaluation, args []ref.Val) ref.Val {
	amounts, err := e.exposed()
	limit, ok := args[1].(types.Double)
	switch {
	case err != nil:
		return types.WrapErr(err)
	case !e.signs():
		return absent("amounts")
	case !ok || !(limit > 0):
		return types.NewErr("signal.unusual: z is not above 0")
	}
	scope := text(args[0])
	if _, failed := e.scopeID(scope, ""); failed != nil {
		return failed
	}
	fired := false
	for _, a := range amounts {
		n := e.withoutFee(a)
		if n.Sign() == 0 {
			continue
		}
		if failed := e.look(a.Asset); failed != nil {
			return failed
		}
		fired = e.unusualAmount(scope, a.Asset, n, float64(limit)) || fired
	}
	return types.Bool(fired)
}

// withoutFee is what of an amount at risk moves or may be taken. A fee is no
// amount that somebody usually pays: it would be most of what a payer of tokens
// pays in ether.
func (e *evaluation) withoutFee(a exposure.Amount) *big.Int {
	effects := &e.facts.Meaning.Effects
	if effects.Fee == nil || a.Asset != effects.FeeAsset {
		return a.Amount
	}
	return new(big.Int).Sub(a.Amount, effects.Fee)
}

func (e *evaluation) unusualAmount(scope, asset string, n *big.Int, limit float64) bool {
	h := e.facts.History.Habit(scope, asset, n)
	if h.Count < habitAtLeast || !(h.Z > limit) {
		return false
	}
	median := "unknown"
	if h.MedianAmount != nil {
		median = e.set.book.words(h.MedianAmount, asset)
	}
	e.fire(CodeUnusual, "unusual: %s of %s is %.1f robust deviations above the %s's median of %s (%d earlier)",
		e.set.book.words(n, asset), asset, h.Z, scope, median, h.Count)
	return true
}

func onList(e *evaluation, args []ref.Val) ref.Val {
	l, err := e.list(args[0])
	switch {
	case err != nil:
		return types.WrapErr(err)
	case !e.signs():
		return absent("accounts")
	}
	fired := false
	for _, account := range e.touched() {
		if l.has(account) {
			fired = true
			e.fire(CodeListed, "listed: %s is in list %s", account, l.id)
		}
	}
	return types.Bool(fired)
}

// touched are all accounts that the request has to do with: destinations, and
// besides who pays, and the contracts of tokens.
func (e *evaluation) touched() []string {
	out := append([]string(nil), e.destinations()...)
	effects := &e.facts.Meaning.Effects
	for _, m := range effects.Moves {
		out = append(out, transaction.Canonical(m.From), contract(m.Asset))
	}
	for _, a := range effects.Allowances {
		out = append(out, transaction.Canonical(a.Owner), contract(a.Asset))
	}
	if d := effects.Details; d != nil && d.Typed != nil {
		out = append(out, transaction.Canonical(d.Typed.Contract))
	}
	return unique(out)
}

func feeRange(e *evaluation, args []ref.Val) ref.Val {
	fee, ok := e.variable("tx.fee_per_gas").(amount)
	low, high := args[0].(amount), args[1].(amount)
	switch {
	case !ok:
		return absent("tx.fee_per_gas")
	case fee.n.Cmp(low.n) < 0:
		e.fire(CodeFee, "fee: %s per gas is below %s", fee.n, low.n)
		return types.True
	case fee.n.Cmp(high.n) > 0:
		e.fire(CodeFee, "fee: %s per gas is above %s", fee.n, high.n)
		return types.True
	}
	return types.False
}

func gasAbove(e *evaluation, args []ref.Val) ref.Val {
	gas, ok := e.variable("tx.gas_limit").(types.Uint)
	most := args[0].(types.Uint)
	if !ok {
		return absent("tx.gas_limit")
	}
	if gas > most {
		e.fire(CodeGas, "gas: the limit of %d is above %d", gas, most)
	}
	return types.Bool(gas > most)
}

func nonceReused(e *evaluation, _ []ref.Val) ref.Val {
	return e.nonceSignal(CodeNonceReused, "nonce_reused: nonce %d was approved before in another request",
		func(n ledger.Nonce) bool { return n.Reused })
}

func nonceReplaces(e *evaluation, _ []ref.Val) ref.Val {
	return e.nonceSignal(CodeNonceReplaces, "nonce_replaces: nonce %d again, with the same content and a higher fee",
		func(n ledger.Nonce) bool { return n.Replaces })
}

func (e *evaluation) nonceSignal(code, evidence string, fires func(ledger.Nonce) bool) ref.Val {
	n, failed := e.nonce()
	if failed != nil {
		return failed
	}
	fired := fires(e.facts.History.Nonce())
	if fired {
		e.fire(code, evidence, n)
	}
	return types.Bool(fired)
}

func nonceGap(e *evaluation, args []ref.Val) ref.Val {
	n, failed := e.nonce()
	if failed != nil {
		return failed
	}
	most, ok := args[0].(types.Int)
	if !ok || most < 0 {
		return types.NewErr("signal.nonce_gap: n is below 0")
	}
	next := e.facts.History.Nonce()
	if !next.Known || n <= next.Next || n-next.Next <= uint64(most) {
		return types.False
	}
	e.fire(CodeNonceGap, "nonce_gap: nonce %d is %d above the expected %d", n, n-next.Next, next.Next)
	return types.True
}

func (e *evaluation) nonce() (uint64, ref.Val) {
	n, ok := e.variable("tx.nonce").(types.Uint)
	if !ok {
		return 0, absent("tx.nonce")
	}
	return uint64(n), nil
}

func shortDuration(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
