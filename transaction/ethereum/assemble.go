package ethereum

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// TransactionOutput is the output object of an ethereum.transaction. Raw is
// the signed encoding to be broadcast, Hash its Keccak-256, From the EIP-55
// address of the sender, Signature the 65 bytes r||s||y parity; bytes are 0x
// hex.
type TransactionOutput struct {
	Raw       string `json:"raw"`
	Hash      string `json:"hash"`
	From      string `json:"from"`
	Signature string `json:"signature"`
}

// MessageOutput is the output object of an ethereum.message. Signature is 65
// bytes r||s||v with v 27 or 28, as personal_sign gives it.
type MessageOutput struct {
	Signature string `json:"signature"`
	Address   string `json:"address"`
}

// TypedDataOutput is the output object of an ethereum.typed-data. Signature is
// 65 bytes r||s||v with v 27 or 28, as eth_signTypedData_v4 gives it; Digest is
// what it is of, in 0x hex.
type TypedDataOutput struct {
	Signature string `json:"signature"`
	Address   string `json:"address"`
	Digest    string `json:"digest"`
}

// legacyV is what personal_sign adds to the recovery id.
const legacyV = 27

// Assemble verifies the one signature and makes the output object.
func (Chain) Assemble(tx transaction.Transaction, account message.AccountDescriptor, signatures [][]byte) (jsontext.Value, error) {
	if len(signatures) != 1 {
		return nil, fmt.Errorf("%w: %d signatures, want 1", ErrSignature, len(signatures))
	}
	switch t := tx.(type) {
	case *Transaction:
		if err := t.from.verify(account, t.digest, signatures[0]); err != nil {
			return nil, err
		}
		return t.assemble(signatures[0])
	case *PersonalMessage:
		if err := t.from.verify(account, t.digest, signatures[0]); err != nil {
			return nil, err
		}
		return t.assemble(signatures[0])
	case *TypedData:
		if err := t.from.verify(account, t.digest, signatures[0]); err != nil {
			return nil, err
		}
		return t.assemble(signatures[0])
	}
	return nil, fmt.Errorf("%w: %T is not of ethereum", ErrPayload, tx)
}

func (t *Transaction) assemble(signature []byte) (jsontext.Value, error) {
	signed, err := t.inner.WithSignature(t.from.signer(), signature)
	if err != nil {
		return nil, fmt.Errorf("putting the signature into the transaction: %w", err)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encoding the signed transaction: %w", err)
	}
	if err := checkSigned(raw, t, signature); err != nil {
		return nil, err
	}
	return message.Encode(TransactionOutput{
		Raw: toHex(raw), Hash: toHex(crypto.Keccak256(raw)), From: t.from.text, Signature: toHex(signature),
	})
}

// checkSigned reads the finished bytes as a node would and holds them against
// what was approved and verified: the same digest under the same r, s and y
// parity has the same sender.
func checkSigned(raw []byte, t *Transaction, signature []byte) error {
	var again types.Transaction
	if err := again.UnmarshalBinary(raw); err != nil {
		return fmt.Errorf("reading the signed transaction: %w", err)
	}
	signer := t.from.signer()
	if hash := signer.Hash(&again); !bytes.Equal(hash[:], t.digest.Value) {
		return fmt.Errorf("%w: the signed transaction has another digest", ErrEncoding)
	}
	r, s, v, err := signer.SignatureValues(&again, signature)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	haveV, haveR, haveS := again.RawSignatureValues()
	if v.Cmp(haveV) != 0 || r.Cmp(haveR) != 0 || s.Cmp(haveS) != 0 {
		return fmt.Errorf("%w: the signed transaction carries another one", ErrSignature)
	}
	return nil
}

func (m *PersonalMessage) assemble(signature []byte) (jsontext.Value, error) {
	return message.Encode(MessageOutput{Signature: legacySignature(signature), Address: m.from.text})
}

func (d *TypedData) assemble(signature []byte) (jsontext.Value, error) {
	return message.Encode(TypedDataOutput{
		Signature: legacySignature(signature), Address: d.from.text, Digest: toHex(d.digest.Value),
	})
}

func legacySignature(signature []byte) string {
	out := bytes.Clone(signature)
	out[crypto.RecoveryIDOffset] += legacyV
	return toHex(out)
}

// verify accepts r||s||recovery id by the account that the payload was decoded
// for. One recovery that gives the account's own public key proves the
// signature, the key and the recovery id together; high S is refused (EIP-2),
// and recovery ids above 1 belong to values of r that nodes refuse.
func (s sender) verify(account message.AccountDescriptor, digest message.Digest, signature []byte) error {
	if !s.is(account) {
		return fmt.Errorf("%w: it was decoded for another account", ErrAccount)
	}
	if len(signature) != crypto.SignatureLength || signature[crypto.RecoveryIDOffset] > 1 {
		return fmt.Errorf("%w: not 65 bytes with recovery id 0 or 1", ErrSignature)
	}
	if !lowS(signature[32:64]) {
		return fmt.Errorf("%w: high S", ErrSignature)
	}
	recovered, err := crypto.Ecrecover(digest.Value, signature)
	if err != nil || !bytes.Equal(recovered, s.publicKey) {
		return ErrSignature
	}
	return nil
}

// halfOrder is the greatest S that nodes accept: half the order of secp256k1,
// rounded down (EIP-2).
var halfOrder = new(big.Int).Rsh(crypto.S256().Params().N, 1).FillBytes(make([]byte, 32))

func lowS(s []byte) bool { return bytes.Compare(s, halfOrder) <= 0 }

func toHex(b []byte) string { return "0x" + hex.EncodeToString(b) }
