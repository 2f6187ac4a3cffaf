package ethereum

import (
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// MaxFee is the greatest fee, gas limit times fee cap, that is ever signed:
// 10 whole native coins (10^19 wei). Ordinary transactions cost a ten
// thousandth of that; mistakes that swap price and limit, or wei and gwei,
// cost far more. Policies set tighter limits; this one holds without any.
const MaxFee uint64 = 10_000_000_000_000_000_000

// checkRange refuses numbers that no Ethereum implementation represents. They
// are decoded from RLP, which has no bound of its own.
func checkRange(tx *types.Transaction) error {
	for _, n := range []*big.Int{tx.Value(), tx.GasPrice(), tx.GasFeeCap(), tx.GasTipCap()} {
		if n.Sign() < 0 || n.BitLen() > 256 {
			return fmt.Errorf("%w: 2^256 or more", ErrRange)
		}
	}
	if tx.Nonce() == math.MaxUint64 {
		return fmt.Errorf("%w: nonce (EIP-2681)", ErrRange)
	}
	return nil
}

// checkSense refuses transactions that are well formed and yet cannot be
// meant: they would be refused by every node, or burn what they cost.
func checkSense(tx *types.Transaction) error {
	if tx.GasTipCap().Cmp(tx.GasFeeCap()) > 0 {
		return fmt.Errorf("%w: the priority fee exceeds the fee cap", ErrFee)
	}
	fee := feeOf(tx)
	if fee.Cmp(new(big.Int).SetUint64(MaxFee)) > 0 {
		return fmt.Errorf("%w: gas limit times fee cap exceeds %d", ErrFee, MaxFee)
	}
	if new(big.Int).Add(fee, tx.Value()).BitLen() > 256 {
		return fmt.Errorf("%w: value and fee together are 2^256 or more", ErrRange)
	}
	if tx.To() == nil && len(tx.Data()) == 0 {
		return fmt.Errorf("%w: neither a destination nor code", ErrPayload)
	}
	need := intrinsicGas(tx)
	if new(big.Int).SetUint64(tx.Gas()).Cmp(need) < 0 {
		return fmt.Errorf("%w: %d, need %s", ErrGas, tx.Gas(), need)
	}
	return nil
}

// feeOf is the most that the gas can cost. The product has up to 320 bits and
// cannot overflow here.
func feeOf(tx *types.Transaction) *big.Int {
	return new(big.Int).Mul(new(big.Int).SetUint64(tx.Gas()), tx.GasFeeCap())
}

// intrinsicGas is the gas that a transaction costs before anything runs: the
// yellow paper's g0 with EIP-2028, EIP-2930 and EIP-3860. The higher floor of
// EIP-7623 is left to the node, as chains differ in having it.
func intrinsicGas(tx *types.Transaction) *big.Int {
	gas := new(big.Int).SetUint64(params.TxGas)
	if tx.To() == nil {
		words := (len(tx.Data()) + 31) / 32
		gas.SetUint64(params.TxGasContractCreation + params.InitCodeWordGas*uint64(words))
	}
	zeros := 0
	for _, b := range tx.Data() {
		if b == 0 {
			zeros++
		}
	}
	addGas(gas, zeros, params.TxDataZeroGas)
	addGas(gas, len(tx.Data())-zeros, params.TxDataNonZeroGasEIP2028)
	addGas(gas, len(tx.AccessList()), params.TxAccessListAddressGas)
	addGas(gas, tx.AccessList().StorageKeys(), params.TxAccessListStorageKeyGas)
	return gas
}

func addGas(gas *big.Int, count int, each uint64) {
	product := new(big.Int).Mul(big.NewInt(int64(count)), new(big.Int).SetUint64(each))
	gas.Add(gas, product)
}
