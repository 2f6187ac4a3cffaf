package docs_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// ethereumSigned goes the product's way from a payload to its output. What is
// hashed is written a second time: RLP and the message's prefix here, typed
// data by go-ethereum.
func ethereumSigned(t *testing.T, b block) answers {
	key := must(crypto.ToECDSA(b.bytes(t, "private key")))(t)
	account := message.AccountDescriptor{
		Chain: b.get(t, "chain"), Curve: transaction.CurveSecp256k1,
		PublicKey: crypto.CompressPubkey(&key.PublicKey), Address: crypto.PubkeyToAddress(key.PublicKey).Hex(),
	}
	kind, payload := message.Kind(b.get(t, "kind")), b.get(t, "payload")
	tx := must(ethereum.New().Decode(kind, []byte(payload), account))(t)
	unsigned := unsignedForms[kind](t, payload, account.Chain)
	digest := agree(t, tx.Digests()[0].Value, crypto.Keccak256(unsigned))
	if kind == message.KindEthereumTransaction {
		again := must(ethereum.New().Decode(kind, fmt.Appendf(nil, `{"raw":"0x%x"}`, unsigned), account))(t)
		agree(t, again.Digests()[0].Value, tx.Digests()[0].Value)
	}
	signature := must(crypto.Sign(tx.Digests()[0].Value, key))(t)
	output := must(ethereum.New().Assemble(tx, account, [][]byte{signature}))(t)
	return answers{"unsigned": hex.EncodeToString(unsigned), "digest": digest, "output": string(output)}
}

// unsignedForms write the bytes of which the digest is the hash.
var unsignedForms = map[message.Kind]func(t *testing.T, payload, chain string) []byte{
	message.KindEthereumTransaction: unsignedTransaction,
	message.KindEthereumMessage:     unsignedMessage,
	message.KindEthereumTypedData:   unsignedTypedData,
}

func unsignedTransaction(t *testing.T, payload, chain string) []byte {
	var p map[string]any
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		t.Fatal(err)
	}
	if raw, ok := p["raw"]; ok {
		return unhex(t, raw)
	}
	id := decimal(t, strings.TrimPrefix(chain, "eip155:"))
	rest := []any{unhex(t, p["to"]), decimal(t, p["value"]), unhex(t, p["data"])}
	fields := []any{decimal(t, p["nonce"])}
	for _, fee := range []string{"gas_price", "max_priority_fee_per_gas", "max_fee_per_gas", "gas_limit"} {
		if v, ok := p[fee]; ok {
			fields = append(fields, decimal(t, v))
		}
	}
	fields = append(fields, rest...)
	if p["type"] == "legacy" {
		return rlp(append(fields, id, []byte{}, []byte{}))
	}
	fields = append(append([]any{id}, fields...), accessList(t, p["access_list"]))
	prefix := map[any]byte{"eip2930": 1, "eip1559": 2}[p["type"]]
	return append([]byte{prefix}, rlp(fields)...)
}

func accessList(t *testing.T, list any) []any {
	out := []any{}
	entries, _ := list.([]any)
	for _, entry := range entries {
		keys := []any{}
		for _, k := range entry.(map[string]any)["storage_keys"].([]any) {
			keys = append(keys, unhex(t, k))
		}
		out = append(out, []any{unhex(t, entry.(map[string]any)["address"]), keys})
	}
	return out
}

// rlp is the yellow paper's, of byte strings and lists of less than 64 KiB.
func rlp(v any) []byte {
	list, isList := v.([]any)
	if !isList {
		b := v.([]byte)
		if len(b) == 1 && b[0] < 0x80 {
			return b
		}
		return append(rlpHead(0x80, len(b)), b...)
	}
	var content []byte
	for _, one := range list {
		content = append(content, rlp(one)...)
	}
	return append(rlpHead(0xc0, len(content)), content...)
}

func rlpHead(base byte, n int) []byte {
	switch {
	case n < 56:
		return []byte{base + byte(n)}
	case n < 256:
		return []byte{base + 56, byte(n)}
	}
	return []byte{base + 57, byte(n >> 8), byte(n)}
}

func unsignedMessage(t *testing.T, payload, _ string) []byte {
	var p struct{ Text, Hex *string }
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		t.Fatal(err)
	}
	var content []byte
	if p.Text != nil {
		content = []byte(*p.Text)
	} else {
		content = unhex(t, *p.Hex)
	}
	return append(fmt.Appendf(nil, "\x19Ethereum Signed Message:\n%d", len(content)), content...)
}

func unsignedTypedData(t *testing.T, payload, _ string) []byte {
	var p struct {
		Data apitypes.TypedData `json:"typed_data"`
	}
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		t.Fatal(err)
	}
	_, unsigned, err := apitypes.TypedDataAndHash(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(unsigned)
}

// unhex reads bytes in 0x hex; none where the member is absent.
func unhex(t *testing.T, v any) []byte {
	t.Helper()
	text, _ := v.(string)
	return must(hex.DecodeString(strings.TrimPrefix(text, "0x")))(t)
}

// decimal reads a number into its bytes; 0 where the member is absent.
func decimal(t *testing.T, v any) []byte {
	t.Helper()
	if v == nil {
		return []byte{}
	}
	n, ok := new(big.Int).SetString(v.(string), 10)
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	return n.Bytes()
}

// refusal is the first cell of a row of the table of refusals.
var refusal = regexp.MustCompile("(?m)^\\| `([a-z' ]+)` \\|")

// ethereumRefused has the product refuse every payload, in the words of the
// page, and wants a payload for each of these.
func ethereumRefused(t *testing.T, b block) answers {
	key := must(crypto.GenerateKey())(t)
	account := message.AccountDescriptor{
		Chain: "eip155:1", Curve: transaction.CurveSecp256k1,
		PublicKey: crypto.CompressPubkey(&key.PublicKey), Address: crypto.PubkeyToAddress(key.PublicKey).Hex(),
	}
	_, rest, _ := strings.Cut(specSection(t, "### Ethereum payloads"), "\n*Refusals*")
	shown := map[string]bool{}
	for _, m := range refusal.FindAllStringSubmatch(rest, -1) {
		shown[m[1]] = false
	}
	for _, l := range b.inputs {
		kind, words, _ := strings.Cut(strings.TrimSuffix(l.name, ")"), " (")
		if _, ok := shown[words]; !ok {
			t.Errorf("line %d: %q is not in the table", l.number+1, words)
		}
		shown[words] = true
		_, err := ethereum.New().Decode(message.Kind(kind), []byte(l.value), account)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("line %d is not refused with %q but with %v", l.number+1, words, err)
		}
	}
	for words, ok := range shown {
		if !ok {
			t.Errorf("nothing is refused with %q", words)
		}
	}
	return answers{"refused": fmt.Sprint(len(b.inputs))}
}
