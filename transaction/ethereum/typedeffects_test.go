package ethereum_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
)

const (
	maxUint       = "115792089237316195423570985008687907853269984665640564039457584007913129639935"
	me            = "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"
	permit2       = "0x000000000022d473030f116ddee9f6b43ac78ba3"
	permitType    = `"Permit":[{"name":"owner","type":"address"},{"name":"spender","type":"address"},{"name":"value","type":"uint256"},{"name":"nonce","type":"uint256"},{"name":"deadline","type":"uint256"}]`
	permitMessage = `{"owner":"` + me + `","spender":"` + spender + `","value":"7","nonce":0,"deadline":"1"}`
)

// structType writes a struct's type from "type name" parts.
func structType(name string, fields ...string) string {
	parts := []string{}
	for _, f := range fields {
		typ, field, _ := strings.Cut(f, " ")
		parts = append(parts, `{"name":"`+field+`","type":"`+typ+`"}`)
	}
	return `"` + name + `":[` + strings.Join(parts, ",") + `]`
}

// signedBy writes typed data for a contract.
func signedBy(contract, primary, types, content string) string {
	return `{"types":{"EIP712Domain":[{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],` + types +
		`},"primaryType":"` + primary + `","domain":{"chainId":1,"verifyingContract":"` + contract + `"},"message":` + content + `}`
}

func allowance(asset, owner, to, amount string) transaction.Allowance {
	n, _ := new(big.Int).SetString(amount, 10)
	return transaction.Allowance{Asset: asset, Owner: "eip155:1:" + owner, Spender: "eip155:1:" + to, Amount: n}
}

func moved(asset, from, to, amount string) transaction.Move {
	n, _ := new(big.Int).SetString(amount, 10)
	return transaction.Move{Asset: asset, From: "eip155:1:" + from, To: "eip155:1:" + to, Amount: n}
}

var (
	details     = structType("PermitDetails", "address token", "uint160 amount", "uint48 expiration", "uint48 nonce")
	permissions = structType("TokenPermissions", "address token", "uint256 amount")
	detail      = `{"token":"` + token + `","amount":"7","expiration":1,"nonce":0}`
	permission  = `{"token":"` + token + `","amount":"7"}`
	eip3009     = []string{"address from", "address to", "uint256 value", "uint256 validAfter", "uint256 validBefore", "bytes32 nonce"}
	zeroWord    = "0x" + strings.Repeat("0", 64)
)

func safeTx(to, value, data, operation, gasPrice string) string {
	return signedBy(recipient, "SafeTx", structType("SafeTx", "address to", "uint256 value", "bytes data", "uint8 operation",
		"uint256 safeTxGas", "uint256 baseGas", "uint256 gasPrice", "address gasToken", "address refundReceiver", "uint256 nonce"),
		`{"to":"`+to+`","value":"`+value+`","data":"`+data+`","operation":`+operation+`,"safeTxGas":0,"baseGas":0,"gasPrice":`+gasPrice+
			`,"gasToken":"0x0000000000000000000000000000000000000000","refundReceiver":"0x0000000000000000000000000000000000000000","nonce":1}`)
}

func seaport(items string) string {
	return signedBy(permit2, "OrderComponents", strings.Join([]string{
		structType("OrderComponents", "address offerer", "address zone", "OfferItem[] offer", "ConsiderationItem[] consideration", "uint8 orderType",
			"uint256 startTime", "uint256 endTime", "bytes32 zoneHash", "uint256 salt", "bytes32 conduitKey", "uint256 counter"),
		structType("OfferItem", "uint8 itemType", "address token", "uint256 identifierOrCriteria", "uint256 startAmount", "uint256 endAmount"),
		structType("ConsiderationItem", "uint8 itemType", "address token", "uint256 identifierOrCriteria", "uint256 startAmount", "uint256 endAmount", "address recipient"),
	}, ","), `{"offerer":"`+me+`","zone":"`+token+`","offer":[`+items+`],"consideration":[],"orderType":0,"startTime":0,"endTime":1,"zoneHash":"`+zeroWord+
		`","salt":0,"conduitKey":"`+zeroWord+`","counter":0}`)
}

func permitted(primary, tokens, content, contract string) string {
	types := structType(primary, tokens+" permitted", "address spender", "uint256 nonce", "uint256 deadline") + "," + permissions
	return signedBy(contract, primary, types, `{"permitted":`+content+`,"spender":"`+spender+`","nonce":0,"deadline":1}`)
}

// TestAttackPermitInTypedData: what a signature gives away, and what of it nobody
// can tell. THREATS: permit and order types that move value.
func TestAttackPermitInTypedData(t *testing.T) {
	one := []transaction.Allowance{allowance(erc20, me, spender, "7")}
	dai := func(allowed string) string {
		return signedBy(token, "Permit", structType("Permit", "address holder", "address spender", "uint256 nonce", "uint256 expiry", "bool allowed"),
			`{"holder":"`+me+`","spender":"`+spender+`","nonce":0,"expiry":0,"allowed":`+allowed+`}`)
	}
	batch := `[` + permission + `,{"token":"` + recipient + `","amount":"8"}]`
	two := []transaction.Allowance{one[0], allowance("eip155:1/erc20:"+recipient, me, spender, "8")}
	authorized := `{"from":"` + me + `","to":"` + recipient + `","value":"7","validAfter":0,"validBefore":1,"nonce":"` + zeroWord + `"}`
	transferData := call("transfer(address,uint256)", word(spender), "07")
	for name, c := range map[string]struct {
		data       string
		moves      []transaction.Move
		allowances []transaction.Allowance
		unknown    int
	}{
		"permit":                  {signedBy(token, "Permit", permitType, permitMessage), nil, one, 0},
		"permit of another":       {signedBy(token, "Permit", permitType, strings.Replace(permitMessage, me, recipient, 1)), nil, []transaction.Allowance{allowance(erc20, recipient, spender, "7")}, 1},
		"permit of another shape": {signedBy(token, "Permit", strings.Replace(permitType, "deadline", "until", 1), strings.Replace(permitMessage, "deadline", "until", 1)), nil, nil, 1},
		"dai permit":              {dai("true"), nil, []transaction.Allowance{allowance(erc20, me, spender, maxUint)}, 0},
		"dai permit taken back":   {dai("false"), nil, []transaction.Allowance{allowance(erc20, me, spender, "0")}, 0},
		"permit2 single": {signedBy(permit2, "PermitSingle", structType("PermitSingle", "PermitDetails details", "address spender", "uint256 sigDeadline")+","+details,
			`{"details":`+detail+`,"spender":"`+spender+`","sigDeadline":1}`), nil, one, 0},
		"permit2 batch": {signedBy(permit2, "PermitBatch", structType("PermitBatch", "PermitDetails[] details", "address spender", "uint256 sigDeadline")+","+details,
			`{"details":[`+detail+`,`+detail+`],"spender":"`+spender+`","sigDeadline":1}`), nil, []transaction.Allowance{one[0], one[0]}, 0},
		"permit2 transfer":            {permitted("PermitTransferFrom", "TokenPermissions", permission, permit2), nil, one, 0},
		"permit2 batch transfer":      {permitted("PermitBatchTransferFrom", "TokenPermissions[]", batch, permit2), nil, two, 0},
		"permit2 of nothing":          {permitted("PermitBatchTransferFrom", "TokenPermissions[]", "[]", permit2), nil, nil, 1},
		"permit2 of a false contract": {permitted("PermitTransferFrom", "TokenPermissions", permission, recipient), nil, one, 1},
		"permit2 with a witness": {signedBy(permit2, "PermitWitnessTransferFrom", structType("PermitWitnessTransferFrom", "TokenPermissions permitted", "address spender", "uint256 nonce", "uint256 deadline", "W witness")+","+
			permissions+","+structType("W", "address a"), `{"permitted":`+permission+`,"spender":"`+spender+`","nonce":0,"deadline":1,"witness":{"a":"`+token+`"}}`), nil, one, 1},
		"transfer with authorization":  {signedBy(token, "TransferWithAuthorization", structType("TransferWithAuthorization", eip3009...), authorized), []transaction.Move{moved(erc20, me, recipient, "7")}, nil, 0},
		"receive with authorization":   {signedBy(token, "ReceiveWithAuthorization", structType("ReceiveWithAuthorization", eip3009...), authorized), []transaction.Move{moved(erc20, me, recipient, "7")}, nil, 0},
		"safe: native":                 {safeTx(spender, "5", "0x", "0", "0"), []transaction.Move{moved(ether, recipient, spender, "5")}, nil, 0},
		"safe: token":                  {safeTx(token, "0", transferData, "0", "0"), []transaction.Move{moved(erc20, recipient, spender, "7")}, nil, 0},
		"safe: unknown":                {safeTx(token, "0", "0x01020304", "0", "0"), nil, nil, 1},
		"safe: delegatecall":           {safeTx(token, "0", transferData, "1", "0"), nil, nil, 1},
		"safe: delegatecall, no data":  {safeTx(token, "5", "0x", "1", "0"), nil, nil, 1},
		"safe: operation 2":            {safeTx(token, "0", transferData, "2", "0"), nil, nil, 1},
		"safe: refund":                 {safeTx(token, "0", transferData, "0", "1"), []transaction.Move{moved(erc20, recipient, spender, "7")}, nil, 1},
		"order":                        {seaport(`{"itemType":1,"token":"` + token + `","identifierOrCriteria":0,"startAmount":"5","endAmount":"7"}`), nil, []transaction.Allowance{allowance(erc20, me, permit2, "7")}, 1},
		"order of an item":             {seaport(`{"itemType":2,"token":"` + token + `","identifierOrCriteria":3,"startAmount":"1","endAmount":"1"}`), nil, []transaction.Allowance{allowance("eip155:1/erc721:"+token+"/3", me, permit2, "1")}, 1},
		"order of several":             {seaport(`{"itemType":3,"token":"` + token + `","identifierOrCriteria":3,"startAmount":"9","endAmount":"1"}`), nil, []transaction.Allowance{allowance("eip155:1/erc1155:"+token+"/3", me, permit2, "9")}, 1},
		"order of any of a collection": {seaport(`{"itemType":4,"token":"` + token + `","identifierOrCriteria":3,"startAmount":"1","endAmount":"1"}`), nil, []transaction.Allowance{allowance("eip155:1/erc721:"+token, me, permit2, "1")}, 1},
		"nothing known":                {members(nil), nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := mustType(t, c.data, mainnet(t)).Effects()
			if len(e.Unknown) != c.unknown {
				t.Errorf("unknown %+v, want %d", e.Unknown, c.unknown)
			}
			got, want := e, transaction.Effects{Moves: c.moves, Allowances: c.allowances}
			got.Unknown, got.Fee, want.Fee = nil, big.NewInt(0), big.NewInt(0)
			if !same(got, want) {
				t.Errorf("effects\n%v\nwant\n%v", plain(got), plain(want))
			}
			if e.Fee != nil || e.Message != nil || e.Details.From != self || e.Details.Nonce != nil || e.Details.To != "" {
				t.Errorf("effects %+v, details %+v", e, e.Details)
			}
		})
	}
}
