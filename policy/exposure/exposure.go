// Package exposure says how much of each asset a request puts at risk, in the
// one way that limits and thresholds count: what moves, what is allowed to
// others, and the highest fee.
//
// It trusts the effects to be computed by the caller from the signed bytes,
// but not to be well-formed, and never drops what it does not understand: that
// is an error.
package exposure

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/countersign/countersign/transaction"
)

// ErrEffects says that the effects cannot be counted.
var ErrEffects = errors.New("effects cannot be counted")

// Amount is how much of an asset (CAIP-19) a request puts at risk, in base
// units. It may be zero.
type Amount struct {
	Asset  string
	Amount *big.Int
}

// Of sums the moves, the allowances and the highest fee per asset, sorted by
// asset. Amounts have no upper bound here, so that no sum can overflow. An
// unknown call counts what its effects say besides, which may be nothing.
func Of(e transaction.Effects) ([]Amount, error) {
	sums := map[string]*big.Int{}
	add := func(asset string, amount *big.Int) error {
		if asset == "" || amount == nil || amount.Sign() < 0 {
			return fmt.Errorf("%w: asset %q", ErrEffects, asset)
		}
		if sums[asset] == nil {
			sums[asset] = new(big.Int)
		}
		sums[asset].Add(sums[asset], amount)
		return nil
	}
	var faults []error
	for _, m := range e.Moves {
		faults = append(faults, add(m.Asset, m.Amount))
	}
	for _, a := range e.Allowances {
		faults = append(faults, add(a.Asset, a.Amount))
	}
	if e.Fee != nil {
		faults = append(faults, add(e.FeeAsset, e.Fee))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	out := make([]Amount, 0, len(sums))
	for _, asset := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, Amount{asset, sums[asset]})
	}
	return out, nil
}
