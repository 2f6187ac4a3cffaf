package ethereum

import (
	"bytes"
	"encoding/hex"
	"fmt"

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

// legacyV is what personal_sign adds to the recovery id.
const legacyV = 27

// Assemble verifies the one signature and makes the output object.
func (Chain) Assemble(tx transaction.Transaction, account message.AccountDescriptor, signatures [][]byte) (jsontext.Value, error) {
	who, err := identify(account)
	if err != nil {
		return nil, err
	}
	if len(signatures) != 1 {
		return nil, fmt.Errorf("%w: %d signatures, want 1", ErrSignature, len(signatures))
	}
	switch t := tx.(type) {
	case *Transaction:
		return t.assemble(who, signatures[0])
	case *PersonalMessage:
		return t.assemble(who, signatures[0])
	}
	return nil, fmt.Errorf("%w: %T is not of ethereum", ErrPayload, tx)
}

func (t *Transaction) assemble(who sender, signature []byte) (jsontext.Value, error) {
	if err := verify(t.from, who, t.digest, signature); err != nil {
		return nil, err
	}
	signed, err := t.inner.WithSignature(who.signer(), signature)
	if err != nil {
		return nil, fmt.Errorf("putting the signature into the transaction: %w", err)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encoding the signed transaction: %w", err)
	}
	if err := checkSigned(raw, t, who); err != nil {
		return nil, err
	}
	return message.Encode(TransactionOutput{
		Raw: toHex(raw), Hash: toHex(crypto.Keccak256(raw)), From: who.address.Hex(), Signature: toHex(signature),
	})
}

// checkSigned reads the finished bytes as a node would and holds them against
// what was approved.
func checkSigned(raw []byte, t *Transaction, who sender) error {
	var again types.Transaction
	if err := again.UnmarshalBinary(raw); err != nil {
		return fmt.Errorf("reading the signed transaction: %w", err)
	}
	if hash := who.signer().Hash(&again); !bytes.Equal(hash[:], t.digest.Value) {
		return fmt.Errorf("%w: the signed transaction has another digest", ErrEncoding)
	}
	from, err := types.Sender(who.signer(), &again)
	if err != nil {
		return fmt.Errorf("recovering the sender: %w", err)
	}
	if from != who.address {
		return fmt.Errorf("%w: the recovered sender is another", ErrSignature)
	}
	return nil
}

func (m *PersonalMessage) assemble(who sender, signature []byte) (jsontext.Value, error) {
	if err := verify(m.from, who, m.digest, signature); err != nil {
		return nil, err
	}
	out := bytes.Clone(signature)
	out[crypto.RecoveryIDOffset] += legacyV
	return message.Encode(MessageOutput{Signature: toHex(out), Address: who.address.Hex()})
}

// verify accepts r||s||recovery id by the account that the payload was decoded
// for. VerifySignature refuses high S (EIP-2); recovery ids above 1 belong to
// values of r that nodes refuse.
func verify(decoded, who sender, digest message.Digest, signature []byte) error {
	if decoded.chainID != who.chainID || decoded.address != who.address {
		return fmt.Errorf("%w: it was decoded for another account", ErrAccount)
	}
	if len(signature) != crypto.SignatureLength || signature[crypto.RecoveryIDOffset] > 1 {
		return fmt.Errorf("%w: not 65 bytes with recovery id 0 or 1", ErrSignature)
	}
	if !crypto.VerifySignature(who.publicKey, digest.Value, signature[:crypto.RecoveryIDOffset]) {
		return ErrSignature
	}
	key, err := crypto.SigToPub(digest.Value, signature)
	if err != nil || crypto.PubkeyToAddress(*key) != who.address {
		return fmt.Errorf("%w: recovery id", ErrSignature)
	}
	return nil
}

func toHex(b []byte) string { return "0x" + hex.EncodeToString(b) }
