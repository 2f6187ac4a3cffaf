package ethereum

import (
	"encoding/hex"
	"math/big"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/countersign/countersign/transaction"
)

// slip44Ether is the coin type under which the native coin of every eip155
// chain is named. Networks have registered others for some of them; the chain
// id tells the coins apart already, and one rule needs no list.
const slip44Ether = "60"

// Namespaces of CAIP-19 for what contracts keep accounts of.
const (
	assetToken    = "erc20"
	assetNFT      = "erc721"
	assetMultiple = "erc1155"
)

// NativeAsset returns the CAIP-19 id of a chain's native coin, such as
// eip155:1/slip44:60.
func NativeAsset(chainID uint64) string { return chainName(chainID) + "/slip44:" + slip44Ether }

// TokenAsset returns the CAIP-19 id of an ERC-20 token, with its contract's
// address in lower case.
func TokenAsset(chainID uint64, contract common.Address) string {
	return asset(chainID, assetToken, contract)
}

func asset(chainID uint64, namespace string, contract common.Address) string {
	return chainName(chainID) + "/" + namespace + ":" + lower(contract)
}

// itemAsset is the CAIP-19 id of one token of an ERC-721 or ERC-1155 contract.
func itemAsset(chainID uint64, namespace string, contract common.Address, id *big.Int) string {
	return asset(chainID, namespace, contract) + "/" + id.String()
}

// AccountID returns the CAIP-10 id of an address, in lower case.
func AccountID(chainID uint64, address common.Address) string {
	text := make([]byte, 0, len("eip155:18446744073709551615:0x")+2*common.AddressLength)
	text = append(text, Namespace+":"...)
	text = strconv.AppendUint(text, chainID, 10)
	text = append(text, ":0x"...)
	return string(hex.AppendEncode(text, address[:]))
}

func chainName(chainID uint64) string { return Namespace + ":" + strconv.FormatUint(chainID, 10) }

func lower(a common.Address) string { return "0x" + hex.EncodeToString(a[:]) }

// Selectors of the ERC-20 calls that most transactions make (and OpenZeppelin's
// increaseAllowance). ERC-721 shares transferFrom and approve with another
// meaning of the number; the asset is then named erc20 all the same, so that
// rules without a limit for it deny.
const (
	selectorTransfer          = 0xa9059cbb
	selectorTransferFrom      = 0x23b872dd
	selectorApprove           = 0x095ea7b3
	selectorIncreaseAllowance = 0x39509351
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
	e := transaction.Effects{Fee: feeOf(tx), FeeAsset: NativeAsset(who.chainID), Details: details(tx, who)}
	if tx.To() == nil {
		creation(&e)
		return e
	}
	w := walker{e: &e, chainID: who.chainID}
	w.all(call{from: who.address, to: *tx.To(), value: e.Details.Value, data: tx.Data()})
	return e
}

// creation is the making of a contract: nobody can tell what it will do.
func creation(e *transaction.Effects) {
	d := e.Details
	if d.Value.Sign() > 0 {
		e.Moves = append(e.Moves, transaction.Move{Asset: e.FeeAsset, From: d.From, Amount: d.Value})
	}
	// The first bytes of code that makes a contract select nothing.
	e.Unknown = append(e.Unknown, transaction.UnknownCall{Value: d.Value, Size: len(d.Data)})
}

func details(tx *types.Transaction, who sender) *transaction.Details {
	nonce := tx.Nonce()
	d := &transaction.Details{
		Form: typeLegacy, Chain: who.chain, From: AccountID(who.chainID, who.address), Value: tx.Value(),
		Nonce: &nonce, GasLimit: tx.Gas(), FeePerGas: tx.GasFeeCap(), Data: tx.Data(), Creates: tx.To() == nil,
	}
	if tx.To() != nil {
		d.To = AccountID(who.chainID, *tx.To())
	}
	switch tx.Type() {
	case types.AccessListTxType:
		d.Form = typeAccessList
	case types.DynamicFeeTxType:
		d.Form, d.PriorityFeePerGas = typeDynamicFee, tx.GasTipCap()
	}
	return d
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
	if !zero(word[:wordSize-common.AddressLength]) {
		return common.Address{}, false
	}
	return common.BytesToAddress(word), true
}
