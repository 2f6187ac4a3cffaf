package ethereum

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
)

// effectFunction is a function whose effects on assets are known. It reports
// whether they are known to the last; what it adds counts either way.
type effectFunction struct {
	function Function
	effects  func(w *walker, c call, args []any) bool
}

// wrapperFunction is a function that makes other calls, which it gives; it
// reports whether it does nothing else.
type wrapperFunction struct {
	function Function
	calls    func(c call, args []any) ([]call, bool)
}

// effectFunctions and wrapperFunctions are all functions that are known beside
// the four of walker.token. They never change.
var (
	effectFunctions  = makeEffectFunctions()
	wrapperFunctions = makeWrapperFunctions()
)

func makeEffectFunctions() map[[selectorSize]byte]effectFunction {
	out := map[[selectorSize]byte]effectFunction{}
	for text, effects := range map[string]func(*walker, call, []any) bool{
		"permit(address owner,address spender,uint256 value,uint256 deadline,uint8 v,bytes32 r,bytes32 s)":                    permit,
		"permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed,uint8 v,bytes32 r,bytes32 s)":        permitAll,
		"decreaseAllowance(address spender,uint256 subtracted)":                                                               decreaseAllowance,
		"setApprovalForAll(address operator,bool approved)":                                                                   setApprovalForAll,
		"safeTransferFrom(address from,address to,uint256 id)":                                                                transferItem,
		"safeTransferFrom(address from,address to,uint256 id,bytes data)":                                                     transferItem,
		"safeTransferFrom(address from,address to,uint256 id,uint256 amount,bytes data)":                                      transferAmount,
		"safeBatchTransferFrom(address from,address to,uint256[] ids,uint256[] amounts,bytes data)":                           transferAmounts,
		"transferWithAuthorization(address,address,uint256,uint256 after,uint256 before,bytes32 nonce,uint8,bytes32,bytes32)": transferAuthorized,
		"receiveWithAuthorization(address,address,uint256,uint256 after,uint256 before,bytes32 nonce,uint8,bytes32,bytes32)":  transferAuthorized,
		"deposit()": deposit,
	} {
		f := mustFunction(text)
		out[f.Selector()] = effectFunction{f, effects}
	}
	return out
}

// mustFunction is for signatures of this package, which tests read.
func mustFunction(text string) Function {
	f, err := ParseFunction(text)
	if err != nil {
		panic(err)
	}
	return f
}

// unlimited is the amount of an allowance without a limit: 2^256-1.
var unlimited = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 8*wordSize), big.NewInt(1))

// allOrNothing is an allowance that is given or taken back as a whole.
func allOrNothing(given bool) *big.Int {
	if given {
		return new(big.Int).Set(unlimited)
	}
	return new(big.Int)
}

// permit hands in an allowance that the owner has signed (EIP-2612).
func permit(w *walker, c call, a []any) bool {
	w.allow(TokenAsset(w.chainID, c.to), a[0].(common.Address), a[1].(common.Address), a[2].(*big.Int))
	return true
}

// permitAll is DAI's own form of it.
func permitAll(w *walker, c call, a []any) bool {
	w.allow(TokenAsset(w.chainID, c.to), a[0].(common.Address), a[1].(common.Address), allOrNothing(a[4].(bool)))
	return true
}

// decreaseAllowance gives nothing; the spender is named by an allowance of 0.
func decreaseAllowance(w *walker, c call, a []any) bool {
	w.allow(TokenAsset(w.chainID, c.to), c.from, a[0].(common.Address), new(big.Int))
	return true
}

// setApprovalForAll is the same in ERC-721 and ERC-1155, which the call does
// not tell apart: the asset is the whole contract, under the name of the first.
func setApprovalForAll(w *walker, c call, a []any) bool {
	w.allow(asset(w.chainID, assetNFT, c.to), c.from, a[0].(common.Address), allOrNothing(a[1].(bool)))
	return true
}

// transferItem moves one ERC-721 token. Data behind it tells the receiver to do
// something that nobody here can tell.
func transferItem(w *walker, c call, a []any) bool {
	w.move(itemAsset(w.chainID, assetNFT, c.to, a[2].(*big.Int)), a[0].(common.Address), a[1].(common.Address), big.NewInt(1))
	return len(a) == 3 || len(a[3].([]byte)) == 0
}

// transferAmount and transferAmounts move ERC-1155 tokens.
func transferAmount(w *walker, c call, a []any) bool {
	w.moveItem(c, a, a[2], a[3])
	return len(a[4].([]byte)) == 0
}

func transferAmounts(w *walker, c call, a []any) bool {
	ids, amounts := a[2].([]any), a[3].([]any)
	if len(ids) != len(amounts) || len(ids) == 0 {
		return false
	}
	for i := range ids {
		w.moveItem(c, a, ids[i], amounts[i])
	}
	return len(a[4].([]byte)) == 0
}

func (w *walker) moveItem(c call, a []any, id, amount any) {
	name := itemAsset(w.chainID, assetMultiple, c.to, id.(*big.Int))
	w.move(name, a[0].(common.Address), a[1].(common.Address), amount.(*big.Int))
}

// transferAuthorized hands in a transfer that the owner has signed (EIP-3009).
func transferAuthorized(w *walker, c call, a []any) bool {
	w.move(TokenAsset(w.chainID, c.to), a[0].(common.Address), a[1].(common.Address), a[2].(*big.Int))
	return true
}

// deposit is how native coins are wrapped. Whether the contract gives a token
// for them cannot be told, only that they move to it; without value it would be
// something else.
func deposit(_ *walker, c call, _ []any) bool { return c.value.Sign() > 0 }
