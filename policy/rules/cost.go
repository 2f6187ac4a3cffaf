package rules

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Costs, in CEL's units: about one per variable, operator or 10 characters
// looked at. A unit takes some 20 ns, and up to 150 in loops within loops over amounts.
const (
	// maxCost bounds one rule: at load by the estimate, at run time by what is
	// spent.
	maxCost = 500_000
	// maxTotalCost bounds what all rules of one request spend together.
	maxTotalCost = 1_000_000
)

// maxAssets is of how many assets that the document does not name the rules of
// one request look the past up together. Each costs a walk through the approvals
// of a user or wallet, and one request can move a thousand items, each of which is
// an asset.
const maxAssets = 64

// Sizes that estimates take for what depends on the request. A request with
// more is decided too, until the rule has spent its cost.
const (
	usualList    = 128
	usualString  = 64
	usualMessage = 16 << 10
)

// bound refuses a condition that can cost more than a rule may.
func (s *Set) bound(checked *cel.Ast) error {
	estimate, err := s.env.EstimateCost(checked, &costs{functions: s.env.functions})
	if err != nil {
		return fmt.Errorf("estimating the cost: %w", err)
	}
	if estimate.Max > maxCost {
		return fmt.Errorf("the condition can cost %d, more than %d: use fewer or shorter loops", estimate.Max, maxCost)
	}
	return nil
}

// costs are those of our functions, and the sizes of what is read.
type costs struct {
	functions map[string]*Function
}

// CallCost implements cost.ActualCostEstimator.
func (c *costs) CallCost(function, _ string, _ []ref.Val, _ ref.Val) *uint64 {
	if f, ok := c.functions[function]; ok {
		return &f.Cost
	}
	return nil
}

// EstimateCallCost implements cost.Estimator.
func (c *costs) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	f, ok := c.functions[function]
	if !ok {
		return nil
	}
	estimate := &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(f.Cost)}
	if f.Result == types.StringType {
		size := cost.RangedSizeEstimate(0, usualString)
		estimate.ResultSize = &size
	}
	return estimate
}

// EstimateSize implements cost.Estimator.
func (c *costs) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if node.Type().IsExactType(amountType) {
		size := cost.FixedSizeEstimate(1)
		return &size
	}
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	size := cost.RangedSizeEstimate(0, usualString)
	switch {
	case path[0] == "tx.message", path[0] == "typed.message":
		size.Max = usualMessage
	case node.Type().Kind() == types.ListKind, node.Type().Kind() == types.MapKind:
		size.Max = usualList
	}
	return &size
}
