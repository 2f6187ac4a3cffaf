package ethereum_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// What is signed was written twice, by two encoders, and is read once more when
// it is finished. No input makes these checks fail: a fault of the program does,
// in whichever part of it.
func TestFaultsOfTheProgramAreNoticed(t *testing.T) {
	account, key := mainnet(t), privateKey(t, testKey)
	for name, changes := range map[string]map[string]any{
		"eip1559": {}, "eip2930": {"type": "eip2930", "gas_price": "30000000000", "max_fee_per_gas": nil, "max_priority_fee_per_gas": nil},
		"legacy": {"type": "legacy", "gas_price": "30000000000", "max_fee_per_gas": nil, "max_priority_fee_per_gas": nil},
	} {
		t.Run(name, func(t *testing.T) {
			approved := mustDecode(t, dynamic(t, changes))
			changes["value"] = "2"
			other := mustDecode(t, dynamic(t, changes))
			unsigned := func(tx transaction.Transaction) []byte {
				b, err := ethereum.EncodeUnsigned(tx)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			want := func(what string, err, want error) {
				t.Helper()
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			want("ok/decoder", ethereum.FaultyDecoder(approved, unsigned(approved)), nil)
			want("fail/decoder", ethereum.FaultyDecoder(approved, unsigned(other)), ethereum.ErrEncoding)
			want("ok/encoder", ethereum.FaultyEncoder(approved, unsigned(approved)), nil)
			want("fail/encoder", ethereum.FaultyEncoder(approved, unsigned(other)), ethereum.ErrEncoding)

			signature, another := sign(t, approved, key), sign(t, other, key)
			_, err := ethereum.New().Assemble(ethereum.FaultyMemory(approved, other), account, [][]byte{signature})
			want("fail/memory", err, ethereum.ErrEncoding)
			raw := unhex(t, assemble(t, approved, account, signature).Raw)
			want("ok/finished", ethereum.CheckSigned(approved, raw, signature), nil)
			want("fail/finished-signature", ethereum.CheckSigned(approved, raw, another), ethereum.ErrSignature)
			parity := bytes.Clone(signature)
			parity[64] ^= 1
			want("fail/finished-parity", ethereum.CheckSigned(approved, raw, parity), ethereum.ErrSignature)
			if ethereum.CheckSigned(approved, raw[1:], signature) == nil {
				t.Error("fail/finished-bytes: no error")
			}
		})
	}
}
