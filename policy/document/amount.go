package document

import (
	"errors"
	"math/big"

	"go.yaml.in/yaml/v3"
)

// maxBits is the width of the largest amount of any asset (an EVM word).
const maxBits = 256

// ErrAmount says that an amount is not written as it must be.
var ErrAmount = errors.New("amount is not a whole number of base units in decimal, 0 to 2^256-1")

// Amount is a whole number of base units, 0 to 2^256-1, written as a decimal
// string.
type Amount struct{ big.Int }

// ParseAmount reads a decimal number without sign, leading zeros, underscores
// or exponent.
func ParseAmount(s string) (Amount, error) {
	var a Amount
	// 2^256-1 has 78 digits: longer text is not worth converting.
	if s == "" || len(s) > 78 || (s[0] == '0' && s != "0") {
		return a, ErrAmount
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return a, ErrAmount
		}
	}
	if _, ok := a.SetString(s, 10); !ok || a.BitLen() > maxBits {
		return Amount{}, ErrAmount
	}
	return a, nil
}

// UnmarshalYAML reads the form that ParseAmount reads, quoted or not: the text
// itself is read, never a float.
func (a *Amount) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return ErrAmount
	}
	got, err := ParseAmount(node.Value)
	if err != nil {
		return err
	}
	a.Set(&got.Int)
	return nil
}

// MarshalYAML writes the decimal string.
func (a Amount) MarshalYAML() (any, error) { return a.Int.String(), nil }
