package ethereum_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
)

// Encoders of calldata in hex, independent of the package's decoder.

func number(n int) string { return fmt.Sprintf("%064x", n) }

func padded(s string) string { return strings.Repeat("0", 64-len(s)) + s }

// blob is bytes: the length, and the bytes padded to words.
func blob(data string) string {
	data = strings.TrimPrefix(data, "0x")
	return number(len(data)/2) + data + strings.Repeat("0", (64-len(data)%64)%64)
}

// list is an array of dynamic values.
func list(tails ...string) string {
	heads, body := "", ""
	for _, tail := range tails {
		heads += number(len(tails)*32 + len(body)/2)
		body += tail
	}
	return number(len(tails)) + heads + body
}

// words is an array of words.
func words(values ...string) string {
	out := number(len(values))
	for _, v := range values {
		out += padded(word(v))
	}
	return out
}

// tuple is words and one dynamic value behind them; so are most arguments.
func tuple(tail string, values ...string) string {
	out := ""
	for _, v := range values {
		out += padded(word(v))
	}
	return out + number((len(values)+1)*32) + tail
}

// dynamics are only dynamic arguments.
func dynamics(tails ...string) string { return list(tails...)[64:] }

func multicall(calls ...string) string {
	return call("multicall(bytes[])") + tuple(list(blobs(calls)...))
}

func blobs(calls []string) []string {
	out := []string{}
	for _, c := range calls {
		out = append(out, blob(c))
	}
	return out
}

func execute(to, value, data string) string {
	return call("execute(address,uint256,bytes)") + tuple(blob(data), to, value)
}

// safeExec is execTransaction with signatures of one byte.
func safeExec(to, value, data, operation, gasPrice string) string {
	body, signatures := blob(data), blob("0x01")
	return call("execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)") +
		padded(word(to)) + padded(value) + number(320) + padded(operation) + number(0) + number(0) + padded(gasPrice) + number(0) + number(0) +
		number(320+len(body)/2) + body + signatures
}

// packedCall is one call of multiSend.
func packedCall(operation, to, value, data string) string {
	data = strings.TrimPrefix(data, "0x")
	return operation + word(to) + padded(value) + number(len(data)/2) + data
}

func multiSend(calls ...string) string {
	return call("multiSend(bytes)") + tuple(blob(strings.Join(calls, "")))
}

const (
	wallet     = "0x3333333333333333333333333333333333333333" // a contract wallet
	multiSends = "0x40a2accbd92bca938b02010e17a5b8929b49130d"
)

type wrapped struct {
	data       string
	value      string
	moves      []transaction.Move
	allowances []transaction.Allowance
	unknown    int
	calls      string // function@depth, ! where not understood, D where delegated
}

func (c wrapped) check(t *testing.T) {
	t.Helper()
	value := c.value
	if value == "" {
		value = "0"
	}
	e := mustDecode(t, dynamic(t, map[string]any{"to": wallet, "data": c.data, "value": value, "gas_limit": "5000000"})).Effects()
	if len(e.Unknown) != c.unknown {
		t.Errorf("unknown %+v, want %d", e.Unknown, c.unknown)
	}
	got, want := e, transaction.Effects{Moves: c.moves, Allowances: c.allowances, Fee: e.Fee, FeeAsset: e.FeeAsset}
	got.Unknown = nil
	if !same(got, want) {
		t.Errorf("effects\n%v\nwant\n%v", plain(got), plain(want))
	}
	if calls := callNames(e.Details.Calls); c.calls != "" && calls != c.calls {
		t.Errorf("calls\n%s\nwant\n%s", calls, c.calls)
	}
}

func callNames(calls []transaction.Call) string {
	out := []string{}
	for _, c := range calls {
		name, _, _ := strings.Cut(c.Function, "(")
		text := fmt.Sprintf("%s@%d", name, c.Depth)
		if c.Delegate {
			text += "D"
		}
		if !c.Understood {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// TestAttackNestedCalls: token calls inside other calls are shown as what they
// are, with the contract that makes them; what is not understood is unknown,
// wherever it stands. THREATS: multicall, delegatecall, Safe execTransaction.
func TestAttackNestedCalls(t *testing.T) {
	transfer := call("transfer(address,uint256)", word(recipient), "07")
	approve := call("approve(address,uint256)", word(spender), "07")
	own := "eip155:1/erc20:" + wallet
	fromWallet := moved(erc20, wallet, recipient, "7")
	paid := func(from, to, amount string) transaction.Move { return moved(ether, from, to, amount) }
	target := tuple(blob(transfer), token)
	for name, c := range map[string]wrapped{
		"multicall is of the contract itself": {multicall(transfer, approve), "", []transaction.Move{moved(own, me, recipient, "7")},
			[]transaction.Allowance{allowance(own, me, spender, "7")}, 0, "multicall@0 transfer@1 approve@1"},
		"multicall with deadline":                    {call("multicall(uint256,bytes[])") + tuple(list(blob(transfer)), "ff"), "", []transaction.Move{moved(own, me, recipient, "7")}, nil, 0, "multicall@0 transfer@1"},
		"multicall with something unknown":           {multicall(transfer, "0x01020304"), "", []transaction.Move{moved(own, me, recipient, "7")}, nil, 1, "multicall@0 transfer@1 @1!"},
		"multicall of nothing":                       {multicall(), "", nil, nil, 1, "multicall@0!"},
		"multicall of no bytes":                      {multicall("0x"), "", nil, nil, 1, "multicall@0!"},
		"multicall of three bytes":                   {multicall("0x010203"), "", nil, nil, 1, "multicall@0 @1!"},
		"multicall in a multicall":                   {multicall(multicall(transfer)), "", []transaction.Move{moved(own, me, recipient, "7")}, nil, 0, "multicall@0 multicall@1 transfer@2"},
		"value is counted once":                      {multicall(transfer), "9", []transaction.Move{paid(me, wallet, "9"), moved(own, me, recipient, "7")}, nil, 0, ""},
		"deposit in a multicall":                     {multicall("0xd0e30db0"), "9", []transaction.Move{paid(me, wallet, "9")}, nil, 1, ""},
		"aggregate":                                  {call("aggregate((address,bytes)[])") + tuple(list(target)), "", []transaction.Move{fromWallet}, nil, 0, "aggregate@0 transfer@1"},
		"tryAggregate":                               {call("tryAggregate(bool,(address,bytes)[])") + tuple(list(target), "01"), "", []transaction.Move{fromWallet}, nil, 0, "tryAggregate@0 transfer@1"},
		"aggregate3":                                 {call("aggregate3((address,bool,bytes)[])") + tuple(list(tuple(blob(transfer), token, "01"), tuple(blob("0x01020304"), token, "00"))), "", []transaction.Move{fromWallet}, nil, 1, "aggregate3@0 transfer@1 @1!"},
		"aggregate3 of nothing":                      {call("aggregate3((address,bool,bytes)[])") + tuple(list()), "", nil, nil, 1, "aggregate3@0!"},
		"aggregate3Value":                            {call("aggregate3Value((address,bool,uint256,bytes)[])") + tuple(list(tuple(blob("0x"), recipient, "01", "05"))), "5", []transaction.Move{paid(me, wallet, "5"), paid(wallet, recipient, "5")}, nil, 0, "aggregate3Value@0"},
		"execute":                                    {execute(token, "00", transfer), "", []transaction.Move{fromWallet}, nil, 0, "execute@0 transfer@1"},
		"execute with value alone":                   {execute(recipient, "05", "0x"), "", []transaction.Move{paid(wallet, recipient, "5")}, nil, 0, "execute@0"},
		"executeBatch":                               {call("executeBatch(address[],uint256[],bytes[])") + dynamics(words(token, recipient), words("00", "05"), list(blob(transfer), blob("0x"))), "", []transaction.Move{fromWallet, paid(wallet, recipient, "5")}, nil, 0, "executeBatch@0 transfer@1"},
		"executeBatch without value":                 {call("executeBatch(address[],bytes[])") + dynamics(words(token), list(blob(transfer))), "", []transaction.Move{fromWallet}, nil, 0, "executeBatch@0 transfer@1"},
		"executeBatch of unequal lengths":            {call("executeBatch(address[],bytes[])") + dynamics(words(token, token), list(blob(transfer))), "", nil, nil, 1, "executeBatch@0!"},
		"executeBatch of calls":                      {call("executeBatch((address,uint256,bytes)[])") + tuple(list(tuple(blob(transfer), token, "05"))), "", []transaction.Move{paid(wallet, token, "5"), fromWallet}, nil, 0, "executeBatch@0 transfer@1"},
		"safe":                                       {safeExec(token, "00", transfer, "00", "00"), "", []transaction.Move{fromWallet}, nil, 0, "execTransaction@0 transfer@1"},
		"safe: value":                                {safeExec(recipient, "05", "0x", "00", "00"), "", []transaction.Move{paid(wallet, recipient, "5")}, nil, 0, "execTransaction@0"},
		"safe: approve":                              {safeExec(token, "00", approve, "00", "00"), "", nil, []transaction.Allowance{allowance(erc20, wallet, spender, "7")}, 0, ""},
		"safe: delegatecall":                         {safeExec(token, "05", transfer, "01", "00"), "", nil, nil, 1, "execTransaction@0 @1D!"},
		"safe: delegatecall of permit":               {safeExec(token, "00", call("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", word(recipient), word(spender), "01", "01", "1b", "01", "01"), "01", "00"), "", nil, nil, 1, "execTransaction@0 permit@1D!"},
		"safe: operation 2":                          {safeExec(token, "00", transfer, "02", "00"), "", nil, nil, 1, "execTransaction@0!"},
		"safe: refund":                               {safeExec(token, "00", transfer, "00", "01"), "", []transaction.Move{fromWallet}, nil, 1, "execTransaction@0! transfer@1"},
		"safe in a safe":                             {safeExec(recipient, "00", safeExec(token, "00", transfer, "00", "00"), "00", "00"), "", []transaction.Move{moved(erc20, recipient, recipient, "7")}, nil, 0, "execTransaction@0 execTransaction@1 transfer@2"},
		"safe: multiSend":                            {safeExec(multiSends, "00", multiSend(packedCall("00", token, "00", transfer), packedCall("00", recipient, "05", "0x")), "01", "00"), "", []transaction.Move{fromWallet, paid(wallet, recipient, "5")}, nil, 0, "execTransaction@0 multiSend@1D transfer@2"},
		"safe: multiSend elsewhere":                  {safeExec(recipient, "00", multiSend(packedCall("00", token, "00", transfer)), "01", "00"), "", []transaction.Move{fromWallet}, nil, 1, "execTransaction@0 multiSend@1D! transfer@2"},
		"safe: multiSend's own delegatecall":         {safeExec(multiSends, "00", multiSend(packedCall("01", token, "00", transfer)), "01", "00"), "", nil, nil, 1, "execTransaction@0 multiSend@1D @2D!"},
		"safe: another call of multiSend's contract": {safeExec(multiSends, "00", execute(token, "00", transfer), "01", "00"), "", []transaction.Move{fromWallet}, nil, 1, ""},
		"multiSend":                                  {multiSend(packedCall("00", token, "00", transfer)), "", []transaction.Move{fromWallet}, nil, 0, "multiSend@0 transfer@1"},
		"multiSend and a byte":                       {call("multiSend(bytes)") + tuple(blob(packedCall("00", token, "00", transfer)+"00")), "", []transaction.Move{fromWallet}, nil, 1, "multiSend@0! transfer@1"},
		"multiSend: data too long":                   {call("multiSend(bytes)") + tuple(blob("00"+word(token)+number(0)+strings.Repeat("f", 64))), "", nil, nil, 1, "multiSend@0!"},
		"multiSend: operation 2":                     {multiSend(packedCall("02", token, "00", transfer)), "", nil, nil, 1, "multiSend@0!"},
		"dirty inside":                               {execute(token, "00", transfer[:10]+"01"+transfer[12:]), "", nil, nil, 1, "execute@0 transfer@1!"},
		"a byte behind":                              {execute(token, "00", transfer) + "00", "", nil, nil, 1, "execute@0!"},
		"a byte behind inside":                       {execute(token, "00", transfer+"00"), "", nil, nil, 1, "execute@0 transfer@1!"},
		"offset backwards":                           {strings.Replace(execute(token, "00", transfer), number(96), number(0), 1), "", nil, nil, 1, "execute@0!"},
		"huge array":                                 {call("multicall(bytes[])", "20", strings.Repeat("f", 64)), "", nil, nil, 1, "multicall@0!"},
	} {
		t.Run(name, c.check)
	}
}

// TestTokenCalls: the other calls of tokens, each of the contract wallet's own
// address as token.
func TestTokenCalls(t *testing.T) {
	own, nft, many := "eip155:1/erc20:"+wallet, "eip155:1/erc721:"+wallet, "eip155:1/erc1155:"+wallet
	authorized := []string{word(spender), word(recipient), "07", "01", "02", "03", "1b", "01", "01"}
	batch := func(ids, amounts, data string) string {
		tails := []string{ids, amounts, blob(data)}
		heads, body := padded(word(me))+padded(word(recipient)), ""
		for _, tail := range tails {
			heads += number(160 + len(body)/2)
			body += tail
		}
		return call("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)") + heads + body
	}
	for name, c := range map[string]wrapped{
		"permit": {call("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", word(recipient), word(spender), "07", "01", "1b", "01", "01"), "",
			nil, []transaction.Allowance{allowance(own, recipient, spender, "7")}, 0, "permit@0"},
		"permit with v of 256": {call("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", word(recipient), word(spender), "07", "01", "0100", "01", "01"), "", nil, nil, 1, "permit@0!"},
		"dai permit": {call("permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", word(recipient), word(spender), "00", "00", "01", "1b", "01", "01"), "",
			nil, []transaction.Allowance{allowance(own, recipient, spender, maxUint)}, 0, "permit@0"},
		"decreaseAllowance":       {call("decreaseAllowance(address,uint256)", word(spender), "07"), "", nil, []transaction.Allowance{allowance(own, me, spender, "0")}, 0, "decreaseAllowance@0"},
		"setApprovalForAll":       {call("setApprovalForAll(address,bool)", word(spender), "01"), "", nil, []transaction.Allowance{allowance(nft, me, spender, maxUint)}, 0, "setApprovalForAll@0"},
		"setApprovalForAll: none": {call("setApprovalForAll(address,bool)", word(spender), "00"), "", nil, []transaction.Allowance{allowance(nft, me, spender, "0")}, 0, ""},
		"setApprovalForAll: 2":    {call("setApprovalForAll(address,bool)", word(spender), "02"), "", nil, nil, 1, ""},
		"erc721":                  {call("safeTransferFrom(address,address,uint256)", word(me), word(recipient), "09"), "", []transaction.Move{moved(nft+"/9", me, recipient, "1")}, nil, 0, "safeTransferFrom@0"},
		"erc721 with no data":     {call("safeTransferFrom(address,address,uint256,bytes)") + tuple(blob("0x"), me, recipient, "09"), "", []transaction.Move{moved(nft+"/9", me, recipient, "1")}, nil, 0, ""},
		"erc721 with data":        {call("safeTransferFrom(address,address,uint256,bytes)") + tuple(blob("0x01"), me, recipient, "09"), "", []transaction.Move{moved(nft+"/9", me, recipient, "1")}, nil, 1, "safeTransferFrom@0!"},
		"erc1155":                 {call("safeTransferFrom(address,address,uint256,uint256,bytes)") + tuple(blob("0x"), me, recipient, "09", "07"), "", []transaction.Move{moved(many+"/9", me, recipient, "7")}, nil, 0, ""},
		"erc1155 with data":       {call("safeTransferFrom(address,address,uint256,uint256,bytes)") + tuple(blob("0x01"), me, recipient, "09", "07"), "", []transaction.Move{moved(many+"/9", me, recipient, "7")}, nil, 1, ""},
		"erc1155 batch":           {batch(words("09", "0a"), words("07", "08"), "0x"), "", []transaction.Move{moved(many+"/9", me, recipient, "7"), moved(many+"/10", me, recipient, "8")}, nil, 0, ""},
		"erc1155 unequal batch":   {batch(words("09", "0a"), words("07"), "0x"), "", nil, nil, 1, ""},
		"erc1155 empty batch":     {batch(words(), words(), "0x"), "", nil, nil, 1, ""},
		"transferWithAuthorization": {call("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)", authorized...), "",
			[]transaction.Move{moved(own, spender, recipient, "7")}, nil, 0, "transferWithAuthorization@0"},
		"receiveWithAuthorization": {call("receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)", authorized...), "",
			[]transaction.Move{moved(own, spender, recipient, "7")}, nil, 0, ""},
		"deposit":               {"0xd0e30db0", "5", []transaction.Move{moved(ether, me, wallet, "5")}, nil, 0, "deposit@0"},
		"deposit of nothing":    {"0xd0e30db0", "", nil, nil, 1, "deposit@0!"},
		"deposit and a byte":    {"0xd0e30db000", "5", []transaction.Move{moved(ether, me, wallet, "5")}, nil, 1, "deposit@0!"},
		"withdraw is not known": {call("withdraw(uint256)", "05"), "", nil, nil, 1, "@0!"},
	} {
		t.Run(name, c.check)
	}
}

// TestAttackNestedToTheLimit: beyond the bounds the whole is unknown, whatever
// has been understood before.
func TestAttackNestedToTheLimit(t *testing.T) {
	transfer := call("transfer(address,uint256)", word(recipient), "07")
	deep := func(n int) string {
		data := transfer
		for range n {
			data = execute(token, "00", data)
		}
		return data
	}
	effects := func(data string) transaction.Effects {
		t.Helper()
		return mustDecode(t, dynamic(t, map[string]any{"to": token, "data": data, "value": "0", "gas_limit": "9000000"})).Effects()
	}
	for n, unknown := range map[int]int{1: 0, 6: 0, 7: 1, 20: 1} {
		e := effects(deep(n))
		if len(e.Unknown) != unknown || e.Details.Calls[0].Understood != (unknown == 0) || len(e.Details.Calls) > 7 {
			t.Errorf("%d deep: unknown %+v, %s", n, e.Unknown, callNames(e.Details.Calls))
		}
		if unknown > 0 && (e.Unknown[0].To != "eip155:1:"+token || string(e.Unknown[0].Selector) != string(selector(deep(n)))) {
			t.Errorf("%d deep: unknown %+v", n, e.Unknown)
		}
	}
	wide := func(n int) transaction.Effects {
		calls := make([]string, n)
		for i := range calls {
			calls[i] = transfer
		}
		return effects(multicall(calls...))
	}
	if e := wide(255); len(e.Unknown) != 0 || len(e.Moves) != 255 {
		t.Errorf("255 calls: %d unknown, %d moves", len(e.Unknown), len(e.Moves))
	}
	if e := wide(256); len(e.Unknown) != 1 || len(e.Details.Calls) != 256 || e.Details.Calls[0].Understood {
		t.Errorf("256 calls: %d unknown, %d calls", len(e.Unknown), len(e.Details.Calls))
	}
}
