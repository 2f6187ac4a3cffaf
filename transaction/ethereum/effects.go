package ethereum

import (
	"encoding/hex"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/countersign/countersign/transaction"
)

// slip44Ether is the coin type under which the native coin of every eip155
// chain is named. Networks have registered others for some of them; the chain
// id tells the coins apart already, and one rule needs no list.
const slip44Ether = 60

// NativeAsset returns the CAIP-19 id of a chain's native coin, such as
// eip155:1/slip44:60.
func NativeAsset(chainID uint64) string {
	return fmt.Sprintf("%s:%d/slip44:%d", Namespace, chainID, slip44Ether)
}

// TokenAsset returns the CAIP-19 id of an ERC-20 token, with its contract's
// address in lower case.
func TokenAsset(chainID uint64, contract common.Address) string {
	return fmt.Sprintf("%s:%d/erc20:%s", Namespace, chainID, lower(contract))
}

// AccountID returns the CAIP-10 id of an address, in lower case.
func AccountID(chainID uint64, address common.Address) string {
	return fmt.Sprintf("%s:%d:%s", Namespace, chainID, lower(address))
}

func lower(a common.Address) string { return "0x" + hex.EncodeToString(a[:]) }

// Selectors of the calls that are understood (ERC-20, and OpenZeppelin's
// increaseAllowance). ERC-721 shares transferFrom and approve with another
// meaning of the number; the asset is then named erc20 all the same, so that
// rules without a limit for it deny.
const (
	selectorTransfer          = "a9059cbb"
	selectorTransferFrom      = "23b872dd"
	selectorApprove           = "095ea7b3"
	selectorIncreaseAllowance = "39509351"
)

const (
	selectorSize = 4
	wordSize     = 32
)

// effects tells what a transaction does. Native value always counts as a
// move, also beside a call, and so does a plain transfer of nothing. The fee
// is the gas's; on rollups the sequencer may add its own data fee, which no
// field of the transaction bounds.
func effects(tx *types.Transaction, who sender) transaction.Effects {
	e := transaction.Effects{Fee: feeOf(tx), FeeAsset: NativeAsset(who.chainID)}
	from, to := AccountID(who.chainID, who.address), ""
	if tx.To() != nil {
		to = AccountID(who.chainID, *tx.To())
	}
	if tx.Value().Sign() > 0 || len(tx.Data()) == 0 {
		e.Moves = append(e.Moves, transaction.Move{
			Asset: NativeAsset(who.chainID), From: from, To: to, Amount: tx.Value(),
		})
	}
	if len(tx.Data()) > 0 && !tokenCall(&e, tx, who) {
		e.Unknown = append(e.Unknown, unknownCall(tx, to))
	}
	return e
}

func unknownCall(tx *types.Transaction, to string) transaction.UnknownCall {
	call := transaction.UnknownCall{To: to, Value: tx.Value(), Size: len(tx.Data())}
	// The first bytes of code that makes a contract select nothing.
	if tx.To() != nil {
		call.Selector = tx.Data()[:min(selectorSize, len(tx.Data()))]
	}
	return call
}

// tokenCall adds the effects of a call that is understood to the last byte,
// and reports whether it was.
func tokenCall(e *transaction.Effects, tx *types.Transaction, who sender) bool {
	data := tx.Data()
	if tx.To() == nil || len(data) < selectorSize {
		return false
	}
	asset := TokenAsset(who.chainID, *tx.To())
	self := AccountID(who.chainID, who.address)
	args := data[selectorSize:]
	switch hex.EncodeToString(data[:selectorSize]) {
	case selectorTransfer:
		to, amount, ok := addressAndAmount(args)
		if ok {
			e.Moves = append(e.Moves, transaction.Move{Asset: asset, From: self, To: AccountID(who.chainID, to), Amount: amount})
		}
		return ok
	case selectorTransferFrom:
		return transferFrom(e, asset, args, who)
	case selectorApprove, selectorIncreaseAllowance:
		spender, amount, ok := addressAndAmount(args)
		if ok {
			e.Allowances = append(e.Allowances, transaction.Allowance{
				Asset: asset, Owner: self, Spender: AccountID(who.chainID, spender), Amount: amount,
			})
		}
		return ok
	}
	return false
}

func transferFrom(e *transaction.Effects, asset string, args []byte, who sender) bool {
	if len(args) != 3*wordSize {
		return false
	}
	from, good := addressWord(args[:wordSize])
	to, amount, ok := addressAndAmount(args[wordSize:])
	if !good || !ok {
		return false
	}
	e.Moves = append(e.Moves, transaction.Move{
		Asset: asset, From: AccountID(who.chainID, from), To: AccountID(who.chainID, to), Amount: amount,
	})
	return true
}

// addressAndAmount reads (address, uint256) and nothing more: bytes behind
// them may mean something to a contract that we do not know.
func addressAndAmount(args []byte) (common.Address, *big.Int, bool) {
	if len(args) != 2*wordSize {
		return common.Address{}, nil, false
	}
	address, ok := addressWord(args[:wordSize])
	return address, new(big.Int).SetBytes(args[wordSize:]), ok
}

// addressWord reads an address padded with zeros; other padding is refused,
// since contracts differ in whether they ignore it.
func addressWord(word []byte) (common.Address, bool) {
	for _, b := range word[:wordSize-common.AddressLength] {
		if b != 0 {
			return common.Address{}, false
		}
	}
	return common.BytesToAddress(word), true
}
