// Package ethereum understands Ethereum transactions, messages and typed data:
// transactions with EIP-155 replay protection, of EIP-2930 and of EIP-1559,
// personal messages of EIP-191 and typed data of EIP-712, on every chain of the
// CAIP-2 namespace eip155. It tells what a payload would do, the calls in its
// calldata included, computes the digest to be signed, and puts a signature
// into it.
//
// It trusts nobody: a payload is decoded strictly, encoded again and compared,
// the digest is computed by itself and again by go-ethereum, and a signature
// is verified against the account before it is used. It never signs, never
// asks a node, and never fills in a field that a person ought to have chosen.
// What it does not understand to the last byte it calls unknown.
package ethereum

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// Namespace is the CAIP-2 namespace of the chains of this package.
const Namespace = "eip155"

// Errors of Decode and Assemble that tests and callers tell apart. Each is
// final for the payload.
var (
	// ErrPayload says that the JSON payload is not well formed.
	ErrPayload = errors.New("malformed payload")
	// ErrEncoding says that RLP is not the one encoding of what it means.
	ErrEncoding = errors.New("not a canonical unsigned transaction")
	// ErrType says that the transaction type is not supported.
	ErrType = errors.New("transaction type is not supported")
	// ErrUnprotected says that a legacy transaction lacks the EIP-155 chain
	// id and would be valid on every chain.
	ErrUnprotected = errors.New("legacy transaction without replay protection")
	// ErrChainID says that the chain id is zero or not the account's.
	ErrChainID = errors.New("chain id is not the account's")
	// ErrAddress says that an address is malformed or fails its EIP-55
	// checksum.
	ErrAddress = errors.New("bad address")
	// ErrGas says that the gas limit cannot carry out the transaction.
	ErrGas = errors.New("gas limit below intrinsic gas")
	// ErrFee says that fees contradict each other or are beyond any sense.
	ErrFee = errors.New("bad fee")
	// ErrRange says that a number is out of its range.
	ErrRange = errors.New("number out of range")
	// ErrAccount says that the account descriptor contradicts itself.
	ErrAccount = errors.New("account descriptor is not of an ethereum account")
	// ErrSignature says that a signature is not the account's over this
	// digest, or does not have low S.
	ErrSignature = errors.New("signature is not the account's")
)

// maxChainID is the greatest chain id for which EIP-155's v fits 64 bits
// (EIP-2294).
const maxChainID = 1<<63 - 1 - 36

// Chain is the transaction.Chain of the namespace eip155. It has no state but
// a memory of what it has computed; the zero value has none.
type Chain struct{ known *senders }

var _ transaction.Chain = Chain{}

// New returns the chain.
func New() transaction.Chain { return Chain{known: newSenders()} }

// Decode reads the payload of an ethereum.transaction, ethereum.message or
// ethereum.typed-data.
func (c Chain) Decode(kind message.Kind, payload jsontext.Value, account message.AccountDescriptor) (transaction.Transaction, error) {
	who, err := c.known.identify(account)
	if err != nil {
		return nil, err
	}
	switch kind {
	case message.KindEthereumTransaction:
		tx, err := parse(payload, who)
		if err != nil {
			return nil, err
		}
		if err := checkSense(tx.inner); err != nil {
			return nil, err
		}
		return tx, nil
	case message.KindEthereumMessage:
		m, err := parseMessage(payload, who)
		if err != nil {
			return nil, err
		}
		return m, nil
	case message.KindEthereumTypedData:
		d, err := parseTypedData(payload, who)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return nil, fmt.Errorf("%w: kind %q is not of ethereum", ErrPayload, kind)
}

// CheckAccount accepts every chain id of the namespace but zero, and the
// curve secp256k1.
func (Chain) CheckAccount(chainID, curve string) error {
	if _, err := parseChainID(chainID); err != nil {
		return err
	}
	if curve != transaction.CurveSecp256k1 {
		return fmt.Errorf("%w: curve %q, want %s", ErrAccount, curve, transaction.CurveSecp256k1)
	}
	return nil
}

// Address returns the EIP-55 form of the address of a compressed secp256k1
// key (33 bytes). It is the same on every chain.
func (c Chain) Address(chainID, curve string, publicKey []byte) (string, error) {
	if err := c.CheckAccount(chainID, curve); err != nil {
		return "", err
	}
	key, err := crypto.DecompressPubkey(publicKey)
	if err != nil {
		return "", fmt.Errorf("%w: public key: %w", ErrAccount, err)
	}
	return crypto.PubkeyToAddress(*key).Hex(), nil
}

// parseChainID reads a CAIP-2 id such as eip155:1.
func parseChainID(chain string) (uint64, error) {
	reference, ok := strings.CutPrefix(chain, Namespace+":")
	if !ok {
		return 0, fmt.Errorf("%w: %q is not of namespace %s", ErrChainID, chain, Namespace)
	}
	id, err := strconv.ParseUint(reference, 10, 64)
	if err != nil || strconv.FormatUint(id, 10) != reference {
		return 0, fmt.Errorf("%w: %q is not a decimal number", ErrChainID, chain)
	}
	if id == 0 || id > maxChainID {
		return 0, fmt.Errorf("%w: %d is out of range", ErrChainID, id)
	}
	return id, nil
}
