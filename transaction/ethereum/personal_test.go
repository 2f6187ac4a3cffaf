package ethereum_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

func decodeMessage(t testing.TB, payload []byte, account message.AccountDescriptor) transaction.Transaction {
	t.Helper()
	m, err := ethereum.New().Decode(message.KindEthereumMessage, payload, account)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func assembleMessage(t testing.TB, m transaction.Transaction, account message.AccountDescriptor, signature []byte) ethereum.MessageOutput {
	t.Helper()
	output, err := ethereum.New().Assemble(m, account, [][]byte{signature})
	if err != nil {
		t.Fatal(err)
	}
	var out ethereum.MessageOutput
	if err := message.Decode(output, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMetaMaskMessages(t *testing.T) {
	var v struct {
		Cases []struct{ ID, MessageHex, PrivateKey, Address, Signature string }
	}
	vectors.Load(t, "2-ethereum/metamask-eip191.json", &v)
	for _, c := range v.Cases {
		key := privateKey(t, c.PrivateKey)
		account := accountOf(t, &key.PublicKey, 1)
		m := decodeMessage(t, object(t, map[string]any{"hex": c.MessageHex}), account)
		if got := toHex(m.Effects().Message); got != c.MessageHex {
			t.Errorf("%s: effects show %s", c.ID, got)
		}
		out := assembleMessage(t, m, account, sign(t, m, key))
		if out.Signature != c.Signature || !strings.EqualFold(out.Address, c.Address) {
			t.Errorf("%s: %+v, want %s", c.ID, out, c.Signature)
		}
	}
}

// TestTrezorMessages signs by the derived keys, and verifies the signatures of
// those that name only an address.
func TestTrezorMessages(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Mnemonic, Passphrase string
			Parameters               struct{ Msg, Path, Address, Sig string }
			Result                   struct{ Address, Sig string }
		}
	}
	vectors.Load(t, "2-ethereum/trezor-eip191.json", &v)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			payload := object(t, map[string]any{"text": c.Parameters.Msg})
			if c.Parameters.Path != "" {
				key := privateKey(t, derive(t, c.Mnemonic, c.Passphrase, c.Parameters.Path))
				account := accountOf(t, &key.PublicKey, 1)
				m := decodeMessage(t, payload, account)
				out := assembleMessage(t, m, account, sign(t, m, key))
				if out.Signature != "0x"+c.Result.Sig || out.Address != c.Result.Address {
					t.Fatalf("%+v", out)
				}
				return
			}
			m := decodeMessage(t, payload, mainnet(t))
			signature := unhex(t, c.Parameters.Sig)
			signature[64] -= 27
			public, err := crypto.SigToPub(m.Digests()[0].Value, signature)
			if err != nil || crypto.PubkeyToAddress(*public) != common.HexToAddress(c.Parameters.Address) {
				t.Fatalf("recovered another address, %v", err)
			}
			account := accountOf(t, public, 1)
			m = decodeMessage(t, payload, account)
			if out := assembleMessage(t, m, account, signature); out.Signature != "0x"+c.Parameters.Sig {
				t.Fatalf("%+v", out)
			}
		})
	}
}

// TestAttackMessageIsATransactionHash: a message that is a transaction's hash,
// its encoding, or a typed-data preimage signs neither.
func TestAttackMessageIsATransactionHash(t *testing.T) {
	tx := mustDecode(t, dynamic(t, nil))
	digest := tx.Digests()[0].Value
	typed := append([]byte{0x19, 0x01}, make([]byte, 64)...)
	for name, bytes := range map[string][]byte{
		"fail/transaction hash": digest,
		"fail/typed-data hash":  crypto.Keccak256(typed),
		"fail/typed data":       typed,
		"fail/empty":            {},
	} {
		m := decodeMessage(t, object(t, map[string]any{"hex": toHex(bytes)}), mainnet(t))
		signed := m.Digests()[0].Value
		if string(signed) == string(bytes) || string(signed) == string(crypto.Keccak256(bytes)) {
			t.Errorf("%s: the digest is the message's own", name)
		}
		signature := sign(t, m, privateKey(t, testKey))
		if _, err := ethereum.New().Assemble(tx, mainnet(t), [][]byte{signature}); !errors.Is(err, ethereum.ErrSignature) {
			t.Errorf("%s: put into a transaction: %v", name, err)
		}
		if m.Effects().Message == nil {
			t.Errorf("%s: effects show no message", name)
		}
	}
}

// TestAttackMessageTwoReadings: exactly one form, and no boundary to shift.
func TestAttackMessageTwoReadings(t *testing.T) {
	for name, payload := range map[string]string{
		"fail/neither":       `{}`,
		"fail/both":          `{"text":"a","hex":"0x61"}`,
		"fail/null beside":   `{"text":"a","hex":null}`,
		"fail/text null":     `{"text":null}`,
		"fail/number":        `{"text":1}`,
		"fail/twice":         `{"text":"a","text":"b"}`,
		"fail/other case":    `{"Text":"a"}`,
		"fail/unknown":       `{"text":"a","version":"E"}`,
		"fail/half a byte":   `{"hex":"0x6"}`,
		"fail/no 0x":         `{"hex":"61"}`,
		"fail/lone escape":   `{"text":"\ud800"}`,
		"fail/bad UTF-8":     "{\"text\":\"\xc3\"}",
		"fail/trailing":      `{"text":"a"} ` + `x`,
		"fail/transaction":   `{"raw":"0x01"}`,
		"fail/not an object": `"a"`,
	} {
		if _, err := ethereum.New().Decode(message.KindEthereumMessage, []byte(payload), mainnet(t)); !errors.Is(err, ethereum.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
	text := decodeMessage(t, []byte(`{"text":"a"}`), mainnet(t)).Digests()[0].Value
	if hex := decodeMessage(t, []byte(`{"hex":"0x61"}`), mainnet(t)).Digests()[0].Value; string(hex) != string(text) {
		t.Error("text and its bytes have two digests")
	}
	// The length is part of the prefix: "1" + "1a" is not "11" + "a".
	if other := decodeMessage(t, []byte(`{"text":"1a"}`), mainnet(t)).Digests()[0].Value; string(other) == string(text) {
		t.Error("length and text run into each other")
	}
}
