package ethereum

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"

	"github.com/countersign/countersign/transaction"
)

// signedType is typed data whose effects are known. It reports whether they are
// known to the last; what it adds counts either way.
type signedType func(w *signed, v []any) bool

// signed collects the effects of typed data.
type signed struct {
	walker
	signer   common.Address
	contract common.Address
}

// The parts of Uniswap's Permit2 types.
const (
	permitDetails    = "PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)"
	tokenPermissions = "TokenPermissions(address token,uint256 amount)"
	authorization    = "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)

// signedTypes are known by all that their type hash covers. They never change.
var signedTypes = map[string]signedType{
	"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)":                                                                                   signedPermit,
	"Permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed)":                                                                                     signedPermitAll,
	"PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)" + permitDetails:                                                                              signedSingle,
	"PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)" + permitDetails:                                                                             signedBatch,
	"PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)" + tokenPermissions:                                                     signedSingle,
	"PermitBatchTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline)" + tokenPermissions:                                              signedBatch,
	"TransferWithAuthorization" + authorization:                                                                                                                            signedTransfer,
	"ReceiveWithAuthorization" + authorization:                                                                                                                             signedTransfer,
	"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)": signedSafe,
	"OrderComponents(address offerer,address zone,OfferItem[] offer,ConsiderationItem[] consideration,uint8 orderType,uint256 startTime,uint256 endTime,bytes32 zoneHash,uint256 salt,bytes32 conduitKey,uint256 counter)" +
		"ConsiderationItem(uint8 itemType,address token,uint256 identifierOrCriteria,uint256 startAmount,uint256 endAmount,address recipient)" +
		"OfferItem(uint8 itemType,address token,uint256 identifierOrCriteria,uint256 startAmount,uint256 endAmount)": signedOrder,
}

// permit2 is where Uniswap's Permit2 is on all chains that build addresses as
// Ethereum does.
var permit2 = common.HexToAddress("0x000000000022D473030F116dDEE9F6B43aC78BA3")

// typedEffects tells what a signature over typed data gives away. What is not
// known to the last, or would hold on other chains too, is unknown beside what
// is known of it.
func typedEffects(t *typed, about *transaction.Typed, who sender) transaction.Effects {
	e := transaction.Effects{Details: &transaction.Details{
		Form: "eip712", Chain: who.chain, From: AccountID(who.chainID, who.address), Typed: about,
	}}
	contract, ok := t.contract()
	understood := false
	if ok {
		w := &signed{walker{e: &e, chainID: who.chainID}, who.address, contract}
		understood = w.understands(t) && !w.beyond
	}
	if len(e.Moves)+len(e.Allowances)+len(e.Unknown) == 0 || !understood || about.ChainID == nil {
		unknown := transaction.UnknownCall{Selector: selectorOf(t.primary.hash), Value: new(big.Int), Size: len(about.Message)}
		if ok {
			unknown.To = AccountID(who.chainID, contract)
		}
		e.Unknown = append(e.Unknown, unknown)
	}
	return e
}

func (w *signed) understands(t *typed) bool {
	if effects, ok := signedTypes[t.primary.encodeType()]; ok {
		return effects(w, t.message)
	}
	w.witnessed(t)
	return false
}

// witnessed counts what Permit2's types with a witness permit: the witness is
// of the application's own type, and what it adds is not known.
func (w *signed) witnessed(t *typed) {
	if t.primary.text != "PermitWitnessTransferFrom" && t.primary.text != "PermitBatchWitnessTransferFrom" {
		return
	}
	fields := t.primary.fields
	if len(fields) < 2 || fields[0].name != "permitted" || fields[1].typ.kind != kindAddress {
		return
	}
	tokens := fields[0].typ
	if tokens.kind == kindArray {
		tokens = tokens.elem
	}
	if tokens.kind != kindTuple || tokens.encodeType() != tokenPermissions {
		return
	}
	if fields[0].typ.kind == kindArray {
		signedBatch(w, t.message)
		return
	}
	signedSingle(w, t.message)
}

// own reports whether the signature is given for the account itself: for
// another owner, such as a contract wallet, it means what that one makes of it.
func (w *signed) own(owner common.Address) bool { return owner == w.signer }

func signedPermit(w *signed, v []any) bool {
	owner := v[0].(common.Address)
	w.allow(TokenAsset(w.chainID, w.contract), owner, v[1].(common.Address), v[2].(*big.Int))
	return w.own(owner)
}

func signedPermitAll(w *signed, v []any) bool {
	owner := v[0].(common.Address)
	w.allow(TokenAsset(w.chainID, w.contract), owner, v[1].(common.Address), allOrNothing(v[4].(bool)))
	return w.own(owner)
}

// signedSingle and signedBatch are Permit2's, for one token and for several:
// each is a struct that begins with token and amount.
func signedSingle(w *signed, v []any) bool {
	w.permitted(v[0], v[1])
	return w.contract == permit2
}

func signedBatch(w *signed, v []any) bool {
	for _, item := range v[0].([]any) {
		w.permitted(item, v[1])
	}
	return w.contract == permit2
}

func (w *signed) permitted(item, spender any) {
	v := item.([]any)
	w.allow(TokenAsset(w.chainID, v[0].(common.Address)), w.signer, spender.(common.Address), v[1].(*big.Int))
}

func signedTransfer(w *signed, v []any) bool {
	from := v[0].(common.Address)
	w.move(TokenAsset(w.chainID, w.contract), from, v[1].(common.Address), v[2].(*big.Int))
	return w.own(from)
}

// signedSafe is an owner's signature under a Safe's transaction. The Safe is
// the domain's contract, and what moves is its own.
func signedSafe(w *signed, v []any) bool {
	calls, understood := safeCall(w.contract, v)
	for _, inner := range calls {
		inner.depth = 1
		w.call(inner)
	}
	return understood
}

// Kinds of items in Seaport's orders.
const (
	seaportToken    = 1
	seaportItem     = 2
	seaportMultiple = 3
)

// signedOrder counts what an order of Seaport offers. Who takes it, what is
// paid for it and what the zone demands is not told, so that it stays unknown.
func signedOrder(w *signed, v []any) bool {
	for _, item := range v[2].([]any) {
		offer := item.([]any)
		token, id, amount := offer[1].(common.Address), offer[2].(*big.Int), offer[3].(*big.Int)
		if end := offer[4].(*big.Int); end.Cmp(amount) > 0 {
			amount = end
		}
		name := asset(w.chainID, assetNFT, token) // a whole collection, or unknown
		switch offer[0].(*big.Int).Uint64() {
		case seaportToken:
			name = TokenAsset(w.chainID, token)
		case seaportItem:
			name = itemAsset(w.chainID, assetNFT, token, id)
		case seaportMultiple:
			name = itemAsset(w.chainID, assetMultiple, token, id)
		}
		w.allow(name, v[0].(common.Address), w.contract, amount)
	}
	return false
}
