package ethereum_test

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// recipient is an address that nobody has the key of.
const recipient = "0x1111111111111111111111111111111111111111"

// testKey is the key of EIP-155's example.
const testKey = "4646464646464646464646464646464646464646464646464646464646464646"

func privateKey(t testing.TB, text string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.HexToECDSA(strings.TrimPrefix(text, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func accountOf(t testing.TB, key *ecdsa.PublicKey, chainID uint64) message.AccountDescriptor {
	t.Helper()
	return message.AccountDescriptor{
		Chain: fmt.Sprintf("eip155:%d", chainID), Curve: transaction.CurveSecp256k1,
		PublicKey: crypto.CompressPubkey(key), Address: crypto.PubkeyToAddress(*key).Hex(),
	}
}

// mainnet is the test key's account on chain 1.
func mainnet(t testing.TB) message.AccountDescriptor {
	t.Helper()
	return accountOf(t, &privateKey(t, testKey).PublicKey, 1)
}

// object writes a payload.
func object(t testing.TB, members map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rawPayload(raw string) []byte { return []byte(`{"raw":"` + raw + `"}`) }

func decodeTransaction(payload []byte, account message.AccountDescriptor) (transaction.Transaction, error) {
	return ethereum.New().Decode(message.KindEthereumTransaction, payload, account)
}

// mustDecode decodes a payload on the test account.
func mustDecode(t testing.TB, payload []byte) transaction.Transaction {
	t.Helper()
	tx, err := decodeTransaction(payload, mainnet(t))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// sign signs the one digest as the signing service does: RFC 6979, low S.
func sign(t testing.TB, tx transaction.Transaction, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	digests := tx.Digests()
	if len(digests) != 1 || digests[0].Algorithm != message.AlgorithmSecp256k1 {
		t.Fatalf("digests %v", digests)
	}
	signature, err := crypto.Sign(digests[0].Value, key)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func assemble(t testing.TB, tx transaction.Transaction, account message.AccountDescriptor, signature []byte) ethereum.TransactionOutput {
	t.Helper()
	output, err := ethereum.New().Assemble(tx, account, [][]byte{signature})
	if err != nil {
		t.Fatal(err)
	}
	var out ethereum.TransactionOutput
	if err := message.Decode(output, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// dynamic is a sensible EIP-1559 payload, with changes; nil removes a member.
func dynamic(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	members := map[string]any{
		"type": "eip1559", "chain_id": "1", "nonce": "7", "gas_limit": "100000",
		"max_fee_per_gas": "30000000000", "max_priority_fee_per_gas": "1000000000",
		"to": recipient, "value": "1000000000000000000",
	}
	for name, value := range changes {
		if value == nil {
			delete(members, name)
			continue
		}
		members[name] = value
	}
	return object(t, members)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decimal turns a number as vectors write it (hex, decimal, JSON number) into
// a decimal string.
func decimal(t testing.TB, v any) string {
	t.Helper()
	switch n := v.(type) {
	case nil:
		return "0"
	case float64:
		return new(big.Int).SetInt64(int64(n)).String()
	case string:
		if n == "0x" || n == "" {
			return "0"
		}
		i, ok := new(big.Int).SetString(n, 0)
		if !ok {
			t.Fatalf("number %q", n)
		}
		return i.String()
	}
	t.Fatalf("number %v", v)
	return ""
}

func toHex(b []byte) string { return hexutil.Encode(b) }
