package ethereum

import (
	"encoding/binary"
	"math/big"

	"github.com/ethereum/go-ethereum/common"

	"github.com/countersign/countersign/transaction"
)

// call is a call of a contract by another or by an account.
type call struct {
	from, to common.Address
	value    *big.Int
	data     []byte
	depth    int
	// delegate is a call that runs the code of to as if it were that of from.
	delegate bool
}

// Bounds of the calls in one transaction: more depth than any wallet makes, and
// more calls than a person would read. Their effects are bounded too, since calls
// without data, and one call that moves many items, are no more than one of these.
const (
	maxCallDepth = 6
	maxCalls     = 256
)

// walker collects the effects of a call and of all calls inside it.
type walker struct {
	e       *transaction.Effects
	chainID uint64
	beyond  bool // a bound was passed
}

// all walks through a call. Where a bound is passed, or nothing at all came of
// it, the outermost call is not understood, whatever was found inside.
func (w *walker) all(c call) {
	w.call(c)
	if !w.beyond && w.e.Count() > 0 {
		return
	}
	if d := w.e.Details; len(d.Calls) > 0 {
		d.Calls[0].Understood = false
	}
	w.unknown(c)
}

// call adds the effects of one call. A delegated one moves no value.
func (w *walker) call(c call) {
	if !c.delegate && (c.value.Sign() > 0 || len(c.data) == 0) {
		w.move(NativeAsset(w.chainID), c.from, c.to, c.value)
	}
	if len(c.data) == 0 && !c.delegate {
		return
	}
	calls := w.e.Details.Calls
	if len(calls) >= maxCalls || c.depth > maxCallDepth {
		w.beyond = true
		return
	}
	w.e.Details.Calls = append(calls, transaction.Call{
		To: w.account(c.to), Selector: selectorOf(c.data), Value: c.value, Data: c.data,
		Depth: c.depth, Delegate: c.delegate,
	})
	name, understood := w.understand(c)
	if !understood {
		w.unknown(c)
	}
	mine := &w.e.Details.Calls[len(calls)]
	mine.Function, mine.Understood = name, understood
}

// understand adds what a call does if it is understood to the last byte, and
// says what is called.
func (w *walker) understand(c call) (string, bool) {
	if len(c.data) < selectorSize {
		return "", false
	}
	if name, ok := w.token(c); name != "" {
		return name, ok
	}
	selector := [selectorSize]byte(c.data)
	if f, ok := effectFunctions[selector]; ok {
		values, err := f.function.values(c.data)
		return f.function.signature, err == nil && !c.delegate && f.effects(w, c, values)
	}
	if f, ok := wrapperFunctions[selector]; ok {
		values, err := f.function.values(c.data)
		if err != nil {
			return f.function.signature, false
		}
		return f.function.signature, w.inner(c, f, values)
	}
	return "", false
}

// inner walks through the calls that a wrapper makes. What runs by delegation
// has the caller's assets in its hands: only the contracts that are known to do
// nothing but pass calls on are understood then.
func (w *walker) inner(c call, f wrapperFunction, values []any) bool {
	calls, understood := f.calls(c, values)
	for _, inner := range calls {
		inner.depth = c.depth + 1
		if w.call(inner); w.beyond {
			break
		}
	}
	return understood && (!c.delegate || multiSenders[c.to] && f.function.name == "multiSend")
}

// token adds the effects of the four most frequent calls, without the machinery
// that the others need.
func (w *walker) token(c call) (string, bool) {
	args := c.data[selectorSize:]
	if c.delegate {
		return "", false
	}
	switch binary.BigEndian.Uint32(c.data) {
	case selectorTransfer:
		to, amount, ok := addressAndAmount(args)
		if ok {
			w.move(TokenAsset(w.chainID, c.to), c.from, to, amount)
		}
		return "transfer(address,uint256)", ok
	case selectorTransferFrom:
		return "transferFrom(address,address,uint256)", w.transferFrom(c, args)
	case selectorApprove:
		return "approve(address,uint256)", w.approve(c, args)
	case selectorIncreaseAllowance:
		return "increaseAllowance(address,uint256)", w.approve(c, args)
	}
	return "", false
}

func (w *walker) approve(c call, args []byte) bool {
	spender, amount, ok := addressAndAmount(args)
	if ok {
		w.allow(TokenAsset(w.chainID, c.to), c.from, spender, amount)
	}
	return ok
}

func (w *walker) transferFrom(c call, args []byte) bool {
	if len(args) != 3*wordSize {
		return false
	}
	from, good := addressWord(args[:wordSize])
	to, amount, ok := addressAndAmount(args[wordSize:])
	if !good || !ok {
		return false
	}
	w.move(TokenAsset(w.chainID, c.to), from, to, amount)
	return true
}

// counted holds the effects to their bound, also where that leaves the rest out:
// there are more than may be then, and nobody takes them for all.
func (w *walker) counted() { w.beyond = w.beyond || w.e.Count() > transaction.MaxEffects }

func (w *walker) account(a common.Address) string { return AccountID(w.chainID, a) }

func (w *walker) move(asset string, from, to common.Address, amount *big.Int) {
	w.e.Moves = append(w.e.Moves, transaction.Move{
		Asset: asset, From: w.account(from), To: w.account(to), Amount: amount,
	})
	w.counted()
}

func (w *walker) allow(asset string, owner, spender common.Address, amount *big.Int) {
	w.e.Allowances = append(w.e.Allowances, transaction.Allowance{
		Asset: asset, Owner: w.account(owner), Spender: w.account(spender), Amount: amount,
	})
	w.counted()
}

func (w *walker) unknown(c call) {
	w.e.Unknown = append(w.e.Unknown, transaction.UnknownCall{
		To: w.account(c.to), Selector: selectorOf(c.data), Value: c.value, Size: len(c.data),
	})
	w.counted()
}

func selectorOf(data []byte) []byte { return data[:min(selectorSize, len(data))] }
