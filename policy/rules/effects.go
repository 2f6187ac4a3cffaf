package rules

import (
	"encoding/hex"
	"math/big"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// contract is the account of a token asset's contract; empty for others.
func contract(asset string) string {
	chain, token, ok := strings.Cut(asset, "/")
	if !ok {
		return ""
	}
	standard, reference, ok := strings.Cut(token, ":")
	if !ok || standard == "slip44" {
		return ""
	}
	reference, _, _ = strings.Cut(reference, "/") // an item of a collection
	return transaction.Canonical(chain + ":" + reference)
}

func selector(data []byte) ref.Val {
	return types.String("0x" + hex.EncodeToString(data[:min(4, len(data))]))
}

func list(values []ref.Val) ref.Val { return types.NewRefValList(types.DefaultTypeAdapter, values) }

func (e *evaluation) moves() ref.Val {
	moves := e.facts.Meaning.Effects.Moves
	out := make([]ref.Val, len(moves))
	for i, m := range moves {
		out[i] = moveStruct.record(types.String(m.Asset), types.String(transaction.Canonical(m.From)),
			types.String(transaction.Canonical(m.To)), newAmount(m.Amount))
	}
	return list(out)
}

const (
	// unlimitedBits is the length of an allowance that nobody ever uses up.
	unlimitedBits = 128
	// allOnes is from which length on an allowance of ones only is meant to be
	// unlimited: tokens and permits take 2^96-1 and 2^160-1 for that.
	allOnes = 96
)

// unlimited says whether an allowance is as good as one without end.
func unlimited(amount *big.Int) bool {
	if amount == nil || amount.BitLen() < allOnes {
		return false
	}
	more := new(big.Int).Add(amount, big.NewInt(1))
	return amount.BitLen() >= unlimitedBits || more.TrailingZeroBits() == uint(amount.BitLen())
}

func (e *evaluation) allowances() ref.Val {
	allowances := e.facts.Meaning.Effects.Allowances
	out := make([]ref.Val, len(allowances))
	for i, a := range allowances {
		out[i] = allowanceStruct.record(types.String(a.Asset), types.String(transaction.Canonical(a.Owner)),
			types.String(transaction.Canonical(a.Spender)), newAmount(a.Amount), types.Bool(unlimited(a.Amount)))
	}
	return list(out)
}

func (e *evaluation) calls() ref.Val {
	d := e.facts.Meaning.Effects.Details
	if d == nil {
		return absent("tx.calls")
	}
	out := e.uncalled(d)
	for i := range d.Calls {
		out = append(out, e.call(&d.Calls[i]))
	}
	return list(out)
}

// uncalled is what is not understood and no call: a contract creation, typed data,
// a message. Each is an element beside the calls, so that what is asked of all calls
// is asked of it too.
func (e *evaluation) uncalled(d *transaction.Details) (out []ref.Val) {
	told := make([]bool, len(d.Calls))
	for _, u := range e.facts.Meaning.Effects.Unknown {
		i := 0
		for i < len(told) && (told[i] || !isCall(u, &d.Calls[i])) {
			i++
		}
		if i < len(told) {
			told[i] = true
			continue
		}
		out = append(out, e.call(&transaction.Call{To: u.To, Selector: u.Selector, Value: u.Value}))
	}
	return out
}

func (e *evaluation) call(c *transaction.Call) ref.Val {
	value := newAmount(c.Value)
	if c.Value == nil { // of a call that moves nothing, such as a delegate call
		value = newAmount(zero)
	}
	function, args := e.set.book.decode(transaction.Canonical(c.To), c.Data)
	if function == "" {
		function = c.Function
	}
	return callStruct.record(types.String(transaction.Canonical(c.To)), selector(c.Selector), types.String(function), value,
		types.Int(c.Depth), types.Bool(c.Delegate), types.Bool(c.Understood), args)
}

func (e *evaluation) unknownCalls() ref.Val {
	unknown := e.facts.Meaning.Effects.Unknown
	out := make([]ref.Val, len(unknown))
	for i, u := range unknown {
		c := transaction.Call{To: u.To, Selector: u.Selector, Value: u.Value}
		if known := e.detailsOf(u); known != nil {
			c = *known
		}
		c.Understood = false
		out[i] = e.call(&c)
	}
	return list(out)
}

// detailsOf finds the call that an unknown one is, for its data: the only one
// to the same account with the same selector and size.
func (e *evaluation) detailsOf(u transaction.UnknownCall) (found *transaction.Call) {
	d := e.facts.Meaning.Effects.Details
	if d == nil {
		return nil
	}
	for i := range d.Calls {
		c := &d.Calls[i]
		if !isCall(u, c) {
			continue
		}
		if found != nil {
			return nil
		}
		found = c
	}
	return found
}

// isCall says whether what is not understood can be one of the calls.
func isCall(u transaction.UnknownCall, c *transaction.Call) bool {
	return !c.Understood && c.To == u.To && string(c.Selector) == string(u.Selector) && len(c.Data) == u.Size
}

func (e *evaluation) amounts() ref.Val {
	amounts, err := e.exposed()
	if err != nil {
		return types.WrapErr(err)
	}
	out := make([]ref.Val, len(amounts))
	for i, a := range amounts {
		out[i] = amountStruct.record(types.String(a.Asset), newAmount(a.Amount))
	}
	return list(out)
}

// exposed is what the request puts at risk per asset, counted once.
func (e *evaluation) exposed() ([]exposure.Amount, error) {
	if !e.counted {
		e.exposure, e.exposureErr = exposure.Of(e.facts.Meaning.Effects)
		e.counted = true
	}
	return e.exposure, e.exposureErr
}

func (e *evaluation) destinationList() ref.Val {
	return types.NewStringList(types.DefaultTypeAdapter, e.destinations())
}

// destinations are every account that receives, may take, or is called, each
// once, in the order of the effects.
func (e *evaluation) destinations() []string {
	if e.reached != nil {
		return e.reached
	}
	e.reached = []string{}
	seen := map[string]bool{"": true}
	add := func(account string) {
		if account = transaction.Canonical(account); !seen[account] {
			seen[account] = true
			e.reached = append(e.reached, account)
		}
	}
	effects := &e.facts.Meaning.Effects
	for _, m := range effects.Moves {
		add(m.To)
	}
	for _, a := range effects.Allowances {
		add(a.Spender)
	}
	for _, u := range effects.Unknown {
		add(u.To)
	}
	if d := effects.Details; d != nil {
		add(d.To)
		for i := range d.Calls {
			add(d.Calls[i].To)
		}
	}
	return e.reached
}
