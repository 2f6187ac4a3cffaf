package rules

import (
	"fmt"
	"math/big"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxBits bounds amounts: the product of two EVM words still fits, and no rule
// can make numbers that take long to count with.
const maxBits = 512

// amountType is the type of amounts in base units.
var amountType = types.NewOpaqueType("amount").WithTraits(
	traits.AdderType | traits.SubtractorType | traits.MultiplierType |
		traits.DividerType | traits.ModderType | traits.ComparerType)

// amount is a whole number of base units that is never negative. CEL's own
// numbers have 64 bits, which an amount of wei soon exceeds. The number is
// never changed once it is in an amount.
type amount struct{ n *big.Int }

// newAmount returns n as a value of rules, or an error where it cannot be one.
func newAmount(n *big.Int) ref.Val {
	switch {
	case n == nil:
		return types.NewErr("there is no amount")
	case n.Sign() < 0:
		return types.NewErr("an amount would be below zero")
	case n.BitLen() > maxBits:
		return types.NewErr("an amount would have more than %d bits", maxBits)
	}
	return amount{n}
}

// operand reads the other side of an operator: an amount, an int or a uint.
func operand(v ref.Val) (*big.Int, error) {
	switch v := v.(type) {
	case amount:
		return v.n, nil
	case types.Int:
		return big.NewInt(int64(v)), nil
	case types.Uint:
		return new(big.Int).SetUint64(uint64(v)), nil
	}
	return nil, fmt.Errorf("an amount cannot be counted with a value of type %s", v.Type().TypeName())
}

// combine applies an operator to an amount and an operand that must not be
// negative: a negative factor or divisor has no meaning here.
func (a amount) combine(other ref.Val, op func(x, y *big.Int) *big.Int) ref.Val {
	y, err := operand(other)
	if err != nil {
		return types.WrapErr(err)
	}
	if y.Sign() < 0 {
		return types.NewErr("an amount cannot be counted with a number below zero")
	}
	return newAmount(op(a.n, y))
}

// Add implements traits.Adder.
func (a amount) Add(other ref.Val) ref.Val {
	return a.combine(other, func(x, y *big.Int) *big.Int { return new(big.Int).Add(x, y) })
}

// Subtract implements traits.Subtractor: below zero is an error.
func (a amount) Subtract(other ref.Val) ref.Val {
	return a.combine(other, func(x, y *big.Int) *big.Int { return new(big.Int).Sub(x, y) })
}

// Multiply implements traits.Multiplier.
func (a amount) Multiply(other ref.Val) ref.Val {
	return a.combine(other, func(x, y *big.Int) *big.Int { return new(big.Int).Mul(x, y) })
}

// Divide implements traits.Divider: rounded down, by zero is an error.
func (a amount) Divide(denominator ref.Val) ref.Val {
	return a.byNonZero(denominator, (*big.Int).Quo)
}

// Modulo implements traits.Modder.
func (a amount) Modulo(denominator ref.Val) ref.Val {
	return a.byNonZero(denominator, (*big.Int).Rem)
}

func (a amount) byNonZero(denominator ref.Val, op func(z, x, y *big.Int) *big.Int) ref.Val {
	if y, err := operand(denominator); err == nil && y.Sign() == 0 {
		return types.NewErr("an amount is divided by zero")
	}
	return a.combine(denominator, func(x, y *big.Int) *big.Int { return op(new(big.Int), x, y) })
}

// Compare implements traits.Comparer.
func (a amount) Compare(other ref.Val) ref.Val {
	y, err := operand(other)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Int(a.n.Cmp(y))
}

// Equal implements ref.Val.
func (a amount) Equal(other ref.Val) ref.Val {
	y, err := operand(other)
	return types.Bool(err == nil && a.n.Cmp(y) == 0)
}

// ConvertToNative implements ref.Val.
func (a amount) ConvertToNative(desc reflect.Type) (any, error) {
	if desc == reflect.TypeFor[*big.Int]() {
		return new(big.Int).Set(a.n), nil
	}
	return nil, fmt.Errorf("an amount is no %v", desc)
}

// ConvertToType implements ref.Val.
func (a amount) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case amountType:
		return a
	case types.StringType:
		return types.String(a.n.String())
	case types.TypeType:
		return amountType
	}
	return types.NewErr("an amount cannot become a value of type %s", t.TypeName())
}

// Type implements ref.Val.
func (a amount) Type() ref.Type { return amountType }

// Value implements ref.Val. Its users must not change the number.
func (a amount) Value() any { return a.n }

// parseAmount reads decimal digits, or 0x and hex digits, of at most 256 bits.
func parseAmount(text string) (*big.Int, error) {
	base, digits := 10, text
	if len(text) > 2 && text[:2] == "0x" {
		base, digits = 16, text[2:]
	}
	if len(digits) == 0 || len(digits) > 78 || !allDigits(digits, base) {
		return nil, fmt.Errorf("%q is no amount: digits, or 0x and hex digits", bounded(text))
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || n.BitLen() > 256 {
		return nil, fmt.Errorf("%q is no amount: it has more than 256 bits", bounded(text))
	}
	return n, nil
}

func allDigits(s string, base int) bool {
	for _, c := range []byte(s) {
		hex := base == 16 && (c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F')
		if (c < '0' || c > '9') && !hex {
			return false
		}
	}
	return true
}
