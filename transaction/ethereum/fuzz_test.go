package ethereum_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction/ethereum"
)

// FuzzDecode: no payload panics; what is accepted has one digest, the same
// each time, and can be signed and read back.
func FuzzDecode(f *testing.F) {
	f.Add(string(dynamic(f, nil)))
	f.Add(string(dynamic(f, toToken(call("transfer(address,uint256)", word(recipient), "07"), "1"))))
	f.Add(string(dynamic(f, map[string]any{"access_list": accessList(), "to": nil, "data": "0x60"})))
	f.Add(string(rawOf(f, 0, legacyItems(uint64(1), uint64(0), uint64(0))...)))
	f.Add(string(rawOf(f, 1, append([]any{uint64(1)}, append(legacyItems(), []any{})...)...)))
	f.Add(string(rawOf(f, 2, dynamicItems(uint64(1))...)))
	f.Add(`{"text":"hello"}`)
	account, key := mainnet(f), privateKey(f, testKey)
	f.Fuzz(func(t *testing.T, payload string) {
		for _, kind := range []message.Kind{message.KindEthereumTransaction, message.KindEthereumMessage} {
			tx, err := ethereum.New().Decode(kind, []byte(payload), account)
			if err != nil {
				continue
			}
			again, err := ethereum.New().Decode(kind, []byte(payload), account)
			if err != nil || string(again.Digests()[0].Value) != string(tx.Digests()[0].Value) {
				t.Fatalf("decoding again: %v", err)
			}
			if e := tx.Effects(); len(e.Moves)+len(e.Allowances)+len(e.Unknown) == 0 && e.Message == nil {
				t.Fatal("a transaction without any effect")
			}
			if _, err := ethereum.New().Assemble(tx, account, [][]byte{sign(t, tx, key)}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzRaw: a raw payload is accepted only if its bytes are the preimage of the
// digest.
func FuzzRaw(f *testing.F) {
	account := mainnet(f)
	for _, payload := range [][]byte{
		rawOf(f, 0, legacyItems(uint64(1), uint64(0), uint64(0))...), rawOf(f, 2, dynamicItems(uint64(1))...),
		rawOf(f, 1, append([]any{uint64(1)}, append(legacyItems(), []any{})...)...),
	} {
		f.Add(unhex(f, string(payload[len(`{"raw":"`):len(payload)-len(`"}`)])))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := decodeTransaction(rawPayload(toHex(raw)), account)
		if err != nil {
			return
		}
		if string(tx.Digests()[0].Value) != string(crypto.Keccak256(raw)) {
			t.Fatalf("%x has another digest", raw)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	payload, account := dynamic(b, nil), mainnet(b)
	for b.Loop() {
		if _, err := decodeTransaction(payload, account); err != nil {
			b.Fatal(err)
		}
	}
}
