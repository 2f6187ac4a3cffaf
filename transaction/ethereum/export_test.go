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
