package ethereum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// unsignedLegacy is what is hashed for a legacy transaction under EIP-155:
//
//	rlp([nonce, gasPrice, gasLimit, to, value, data, chainId, 0, 0])
type unsignedLegacy struct {
	Nonce    uint64
	GasPrice *big.Int
	Gas      uint64
	To       *common.Address `rlp:"nil"`
	Value    *big.Int
	Data     []byte
	ChainID  *big.Int
	R, S     *big.Int
}

// unsignedAccessList is what follows the byte 0x01 under EIP-2930:
//
//	rlp([chainId, nonce, gasPrice, gasLimit, to, value, data, accessList])
type unsignedAccessList struct {
	ChainID    *big.Int
	Nonce      uint64
	GasPrice   *big.Int
	Gas        uint64
	To         *common.Address `rlp:"nil"`
	Value      *big.Int
	Data       []byte
	AccessList types.AccessList
}

// unsignedDynamicFee is what follows the byte 0x02 under EIP-1559:
//
//	rlp([chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gasLimit, to, value, data, accessList])
type unsignedDynamicFee struct {
	ChainID    *big.Int
	Nonce      uint64
	GasTipCap  *big.Int
	GasFeeCap  *big.Int
	Gas        uint64
	To         *common.Address `rlp:"nil"`
	Value      *big.Int
	Data       []byte
	AccessList types.AccessList
}

// unprotectedItems is the length of the list of a legacy transaction without
// EIP-155.
const unprotectedItems = 6

// Transaction is a decoded ethereum.transaction.
type Transaction struct {
	inner   *types.Transaction
	from    sender
	digest  message.Digest
	effects transaction.Effects
}

// Effects says what the transaction does.
func (t *Transaction) Effects() transaction.Effects { return t.effects }

// Digests returns the one Keccak-256 digest to be signed.
func (t *Transaction) Digests() []message.Digest { return []message.Digest{t.digest} }

// newTransaction encodes the transaction, compares with the raw bytes that it
// came from, if any, and computes digest and effects.
func newTransaction(inner *types.Transaction, raw []byte, who sender) (*Transaction, error) {
	if err := checkRange(inner); err != nil {
		return nil, err
	}
	unsigned, err := encodeUnsigned(inner, who.chainID)
	if err != nil {
		return nil, err
	}
	if raw != nil && !bytes.Equal(raw, unsigned) {
		return nil, ErrEncoding
	}
	digest, err := digestOf(unsigned, inner, who)
	if err != nil {
		return nil, err
	}
	t := &Transaction{
		inner: inner, from: who,
		digest: message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest},
	}
	t.effects = effects(inner, who)
	return t, nil
}

// digestOf returns the digest of the unsigned encoding. Two encoders, ours and
// go-ethereum's, must agree on what is signed.
func digestOf(unsigned []byte, inner *types.Transaction, who sender) ([]byte, error) {
	digest := crypto.Keccak256(unsigned)
	if hash := who.signer().Hash(inner); !bytes.Equal(hash[:], digest) {
		return nil, fmt.Errorf("%w: two encoders disagree", ErrEncoding)
	}
	return digest, nil
}

// signer is go-ethereum's signer for the account's chain. It knows the three
// types that we decode and no blob or set-code transactions.
func (s sender) signer() types.Signer {
	return types.NewLondonSigner(new(big.Int).SetUint64(s.chainID))
}

// decodeUnsigned reads an unsigned transaction of any known type. The chain
// id must be the account's: a signature for one chain must not be had by
// asking for another.
func decodeUnsigned(raw []byte, chainID uint64) (*types.Transaction, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrEncoding)
	}
	var (
		data types.TxData
		id   *big.Int
		err  error
	)
	switch {
	case raw[0] == types.AccessListTxType:
		data, id, err = decodeAccessList(raw[1:])
	case raw[0] == types.DynamicFeeTxType:
		data, id, err = decodeDynamicFee(raw[1:])
	case raw[0] >= 0xc0:
		data, id, err = decodeLegacy(raw)
	default:
		return nil, fmt.Errorf("%w: %d", ErrType, raw[0])
	}
	if err != nil {
		return nil, err
	}
	if !id.IsUint64() || id.Uint64() != chainID {
		return nil, fmt.Errorf("%w: transaction is for chain %s, the account's is %d", ErrChainID, clip(id), chainID)
	}
	return types.NewTx(data), nil
}

func decodeLegacy(raw []byte) (types.TxData, *big.Int, error) {
	content, _, err := rlp.SplitList(raw)
	if err != nil {
		return nil, nil, malformedRLP(err)
	}
	if n, err := rlp.CountValues(content); err == nil && n == unprotectedItems {
		return nil, nil, ErrUnprotected
	}
	var u unsignedLegacy
	if err := rlp.DecodeBytes(raw, &u); err != nil {
		return nil, nil, malformedRLP(err)
	}
	if u.R.Sign() != 0 || u.S.Sign() != 0 {
		return nil, nil, fmt.Errorf("%w: it is signed already", ErrEncoding)
	}
	return &types.LegacyTx{
		Nonce: u.Nonce, GasPrice: u.GasPrice, Gas: u.Gas, To: u.To, Value: u.Value, Data: u.Data,
	}, u.ChainID, nil
}

func decodeAccessList(raw []byte) (types.TxData, *big.Int, error) {
	var u unsignedAccessList
	if err := rlp.DecodeBytes(raw, &u); err != nil {
		return nil, nil, malformedRLP(err)
	}
	return &types.AccessListTx{
		ChainID: u.ChainID, Nonce: u.Nonce, GasPrice: u.GasPrice, Gas: u.Gas, To: u.To,
		Value: u.Value, Data: u.Data, AccessList: u.AccessList,
	}, u.ChainID, nil
}

func decodeDynamicFee(raw []byte) (types.TxData, *big.Int, error) {
	var u unsignedDynamicFee
	if err := rlp.DecodeBytes(raw, &u); err != nil {
		return nil, nil, malformedRLP(err)
	}
	return &types.DynamicFeeTx{
		ChainID: u.ChainID, Nonce: u.Nonce, GasTipCap: u.GasTipCap, GasFeeCap: u.GasFeeCap, Gas: u.Gas, To: u.To,
		Value: u.Value, Data: u.Data, AccessList: u.AccessList,
	}, u.ChainID, nil
}

// malformedRLP is go-ethereum's error about RLP without the names of types that
// it ends with.
func malformedRLP(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrEncoding)
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "rlp: "), " for ")
	return fmt.Errorf("%w: %s", ErrEncoding, text)
}

// encodeUnsigned writes the one unsigned encoding for a chain.
func encodeUnsigned(tx *types.Transaction, chainID uint64) ([]byte, error) {
	id := new(big.Int).SetUint64(chainID)
	var prefix []byte
	var fields any
	switch tx.Type() {
	case types.LegacyTxType:
		fields = &unsignedLegacy{
			tx.Nonce(), tx.GasPrice(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), id, new(big.Int), new(big.Int),
		}
	case types.AccessListTxType:
		prefix = []byte{types.AccessListTxType}
		fields = &unsignedAccessList{
			id, tx.Nonce(), tx.GasPrice(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), tx.AccessList(),
		}
	case types.DynamicFeeTxType:
		prefix = []byte{types.DynamicFeeTxType}
		fields = &unsignedDynamicFee{
			id, tx.Nonce(), tx.GasTipCap(), tx.GasFeeCap(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), tx.AccessList(),
		}
	default:
		return nil, fmt.Errorf("%w: %d", ErrType, tx.Type())
	}
	body, err := rlp.EncodeToBytes(fields)
	if err != nil {
		return nil, fmt.Errorf("encoding transaction: %w", err)
	}
	return append(prefix, body...), nil
}

// clip keeps a number of any size out of an error's text.
func clip(n *big.Int) string {
	if n.IsUint64() {
		return n.String()
	}
	return "of more than 64 bits"
}
