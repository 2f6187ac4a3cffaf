package ethereum

import (
	"math/big"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// DecodeForm is Decode without the judgement of fees and gas, for public
// vectors whose random figures no one would pay.
func DecodeForm(payload jsontext.Value, account message.AccountDescriptor) (transaction.Transaction, error) {
	who, err := identify(account)
	if err != nil {
		return nil, err
	}
	tx, err := parse(payload, who)
	if err != nil {
		return nil, err
	}
	return tx, nil
}

// IntrinsicGas is what a decoded transaction needs at least.
func IntrinsicGas(tx transaction.Transaction) *big.Int { return intrinsicGas(tx.(*Transaction).inner) }

// VerifySignature is Assemble's verification, of any digest.
func VerifySignature(account message.AccountDescriptor, digest, signature []byte) error {
	who, err := identify(account)
	if err != nil {
		return err
	}
	return who.verify(account, message.Digest{Value: digest}, signature)
}

// Faults that no input brings about, for the checks that are there for a fault of
// the program itself.

// FaultyDecoder is a decoder that reads one transaction where raw says another.
func FaultyDecoder(tx transaction.Transaction, raw []byte) error {
	t := tx.(*Transaction)
	_, err := newTransaction(t.inner, raw, t.from)
	return err
}

// FaultyEncoder is an encoder that writes raw for a transaction.
func FaultyEncoder(tx transaction.Transaction, raw []byte) error {
	t := tx.(*Transaction)
	_, err := digestOf(raw, t.inner, t.from)
	return err
}

// FaultyMemory is a transaction whose digest was approved, and which says other
// things than it did.
func FaultyMemory(approved, other transaction.Transaction) transaction.Transaction {
	t := *approved.(*Transaction)
	t.inner = other.(*Transaction).inner
	return &t
}

// CheckSigned holds finished bytes against a transaction and a signature.
func CheckSigned(tx transaction.Transaction, raw, signature []byte) error {
	return checkSigned(raw, tx.(*Transaction), signature)
}

// EncodeUnsigned writes a decoded transaction as it is hashed.
func EncodeUnsigned(tx transaction.Transaction) ([]byte, error) {
	t := tx.(*Transaction)
	return encodeUnsigned(t.inner, t.from.chainID)
}
