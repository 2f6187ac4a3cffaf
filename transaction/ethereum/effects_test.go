package ethereum_test

import (
	"encoding/hex"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

const (
	token   = "0xdac17f958d2ee523a2206206994597c13d831ec7"
	spender = "0x2222222222222222222222222222222222222222"
	self    = "eip155:1:0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"
	ether   = "eip155:1/slip44:60"
	erc20   = "eip155:1/erc20:" + token
)

// call is calldata: the selector of a signature, and words.
func call(signature string, words ...string) string {
	out := toHex(crypto.Keccak256([]byte(signature))[:4])
	for _, w := range words {
		out += strings.Repeat("0", 64-len(w)) + w
	}
	return out
}

func word(address string) string { return strings.TrimPrefix(address, "0x") }

func selector(data string) []byte {
	b, _ := hex.DecodeString(data[2:10])
	return b
}

func toToken(data string, value string) map[string]any {
	return map[string]any{"to": token, "data": data, "value": value}
}

// TestEffects: what is understood is shown as what it is.
func TestEffects(t *testing.T) {
	native := func(to string, n int64) transaction.Move {
		return transaction.Move{Asset: ether, From: self, To: to, Amount: big.NewInt(n)}
	}
	for name, c := range map[string]struct {
		changes map[string]any
		want    transaction.Effects
	}{
		"transfer": {
			map[string]any{"value": "5"},
			transaction.Effects{Moves: []transaction.Move{native("eip155:1:"+recipient, 5)}},
		},
		"transfer of nothing": {
			map[string]any{"value": nil},
			transaction.Effects{Moves: []transaction.Move{native("eip155:1:"+recipient, 0)}},
		},
		"token transfer": {
			toToken(call("transfer(address,uint256)", word(recipient), "07"), "0"),
			transaction.Effects{Moves: []transaction.Move{{Asset: erc20, From: self, To: "eip155:1:" + recipient, Amount: big.NewInt(7)}}},
		},
		"token transfer with native value": {
			toToken(call("transfer(address,uint256)", word(recipient), "07"), "9"),
			transaction.Effects{Moves: []transaction.Move{
				native("eip155:1:"+token, 9),
				{Asset: erc20, From: self, To: "eip155:1:" + recipient, Amount: big.NewInt(7)},
			}},
		},
		"token transferFrom": {
			toToken(call("transferFrom(address,address,uint256)", word(spender), word(recipient), "07"), "0"),
			transaction.Effects{Moves: []transaction.Move{{Asset: erc20, From: "eip155:1:" + spender, To: "eip155:1:" + recipient, Amount: big.NewInt(7)}}},
		},
		"approve": {
			toToken(call("approve(address,uint256)", word(spender), strings.Repeat("f", 64)), "0"),
			transaction.Effects{Allowances: []transaction.Allowance{{
				Asset: erc20, Owner: self, Spender: "eip155:1:" + spender,
				Amount: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)),
			}}},
		},
		"increaseAllowance": {
			toToken(call("increaseAllowance(address,uint256)", word(spender), "0a"), "0"),
			transaction.Effects{Allowances: []transaction.Allowance{{Asset: erc20, Owner: self, Spender: "eip155:1:" + spender, Amount: big.NewInt(10)}}},
		},
		"creation with value": {
			map[string]any{"to": nil, "data": "0x6000", "value": "3"},
			transaction.Effects{
				Moves:   []transaction.Move{native("", 3)},
				Unknown: []transaction.UnknownCall{{Value: big.NewInt(3), Size: 2}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustDecode(t, dynamic(t, c.changes)).Effects()
			c.want.Fee, c.want.FeeAsset = big.NewInt(100000*30000000000), ether
			if !same(got, c.want) {
				t.Fatalf("effects\n%+v\nwant\n%+v", got, c.want)
			}
		})
	}
}

// same compares by value; big.Int has more than one form of zero.
func same(a, b transaction.Effects) bool { return reflect.DeepEqual(plain(a), plain(b)) }

func plain(e transaction.Effects) []string {
	out := []string{e.FeeAsset, e.Fee.String()}
	for _, m := range e.Moves {
		out = append(out, "move", m.Asset, m.From, m.To, m.Amount.String())
	}
	for _, a := range e.Allowances {
		out = append(out, "allowance", a.Asset, a.Owner, a.Spender, a.Amount.String())
	}
	for _, u := range e.Unknown {
		out = append(out, "unknown", u.To, hex.EncodeToString(u.Selector), u.Value.String(), big.NewInt(int64(u.Size)).String())
	}
	return out
}

// TestAttackHiddenTokenCall: value moved by calldata that is not understood to
// its last byte is an unknown call, never nothing.
func TestAttackHiddenTokenCall(t *testing.T) {
	transfer := call("transfer(address,uint256)", word(recipient), "07")
	approve := call("approve(address,uint256)", word(spender), "07")
	for name, data := range map[string]string{
		"safe execTransaction":          call("execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)", word(token)),
		"execute with delegatecall":     call("execute(address,uint256,bytes,uint8)", word(token), "00", "80", "01"),
		"transferAndCall":               call("transferAndCall(address,uint256)", word(recipient), "01"),
		"decreaseAllowance and a byte":  call("decreaseAllowance(address,uint256)", word(spender), "01") + "00",
		"permit and a byte":             call("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", word(recipient), word(spender), "01", "01", "1b", "01", "01") + "00",
		"transfer and a byte":           transfer + "00",
		"transfer and a word":           transfer + strings.Repeat("0", 64),
		"transfer cut by a byte":        transfer[:len(transfer)-2],
		"transfer, dirty address":       transfer[:10] + "01" + transfer[12:],
		"transfer, selector alone":      transfer[:10],
		"approve and a byte":            approve + "00",
		"approve, dirty address":        approve[:10] + "01" + approve[12:],
		"transferFrom, dirty owner":     "0x23b872dd01" + strings.Repeat("0", 190),
		"transferFrom, dirty recipient": "0x23b872dd" + strings.Repeat("0", 64) + "01" + strings.Repeat("0", 126),
		"transferFrom cut":              "0x23b872dd" + strings.Repeat("0", 128),
		"three bytes":                   "0xa9059c",
		"one zero byte":                 "0x00",
	} {
		t.Run(name, func(t *testing.T) {
			e := mustDecode(t, dynamic(t, toToken(data, "0"))).Effects()
			if len(e.Moves)+len(e.Allowances) != 0 || len(e.Unknown) != 1 {
				t.Fatalf("effects %+v", e)
			}
			u := e.Unknown[0]
			if u.To != "eip155:1:"+token || u.Size != (len(data)-2)/2 || (len(data) >= 10 && string(u.Selector) != string(selector(data))) {
				t.Fatalf("unknown call %+v", u)
			}
			with := mustDecode(t, dynamic(t, toToken(data, "4"))).Effects()
			if len(with.Moves) != 1 || with.Moves[0].Amount.Int64() != 4 || with.Moves[0].Asset != ether || len(with.Unknown) != 1 {
				t.Fatalf("with value: effects %+v", with)
			}
		})
	}
	birth := mustDecode(t, dynamic(t, map[string]any{"to": nil, "data": transfer, "value": "0"})).Effects()
	if len(birth.Unknown) != 1 || len(birth.Moves) != 0 || birth.Unknown[0].To != "" {
		t.Fatalf("contract creation with a transfer's bytes: %+v", birth)
	}
}

// TestEffectsOfBlocks holds the effects of real transactions against the kinds
// that the vectors' makers gave them.
func TestEffectsOfBlocks(t *testing.T) {
	for _, file := range []string{"6-chain/mainnet-block-18189758.json", "6-chain/mainnet-block-19431837.json"} {
		var v struct {
			Cases []struct{ ID, Raw, Kind, Value string }
		}
		vectors.Load(t, file, &v)
		for _, c := range v.Cases {
			var tx types.Transaction
			if err := tx.UnmarshalBinary(unhex(t, c.Raw)); err != nil {
				t.Fatal(err)
			}
			if tx.Type() > types.DynamicFeeTxType || !tx.Protected() {
				continue
			}
			decoded, err := ethereum.DecodeForm(rawPayload(toHex(unsigned(t, &tx))), mainnet(t))
			if err != nil {
				t.Fatal(err)
			}
			checkKind(t, c.ID, c.Kind, &tx, decoded.Effects())
		}
	}
}

func checkKind(t *testing.T, id, kind string, tx *types.Transaction, e transaction.Effects) {
	t.Helper()
	native := 0
	if tx.Value().Sign() > 0 || kind == "plain-transfer" {
		native = 1
	}
	moves, allowances, unknown := native, 0, 0
	switch kind {
	case "plain-transfer", "weth-deposit":
	case "erc20-transfer", "erc20/721-transferFrom":
		moves++
	case "erc20-approve", "setApprovalForAll":
		allowances++
	case "multicall", "uniswapV3-multicall": // of something unknown, each of them
		unknown = max(1, len(e.Unknown))
	default:
		unknown++
	}
	// A call of the right selector with odd arguments is unknown, rightly.
	odd := (kind == "erc20-transfer" || kind == "erc20-approve") && len(tx.Data()) != 68
	if odd {
		moves, allowances, unknown = native, 0, 1
	}
	if len(e.Moves) != moves || len(e.Allowances) != allowances || len(e.Unknown) != unknown {
		t.Errorf("%s (%s): %+v", id, kind, e)
	}
	if e.Fee.Sign() <= 0 {
		t.Errorf("%s: fee %s", id, e.Fee)
	}
}
