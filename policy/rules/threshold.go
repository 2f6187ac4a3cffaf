package rules

import (
	"math/big"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// threshold refuses literals with which a signal fires always, or fails.
func (c *condition) threshold(e ast.Expr, call ast.CallExpr) {
	args := call.Args()
	switch call.FunctionName() {
	case "signal.fee":
		low, high := c.constantAmount(args[0]), c.constantAmount(args[1])
		if low != nil && high != nil && low.Cmp(high) > 0 {
			c.fault(e, "signal.fee: min is above max, so that every fee is outside")
		}
	case "signal.unusual":
		if z, ok := literalOf[types.Double](args[1]); ok && !(z > 0) {
			c.fault(args[1], "signal.unusual: z is not above 0")
		}
	case "signal.nonce_gap":
		if n, ok := literalOf[types.Int](args[0]); ok && n < 0 {
			c.fault(args[0], "signal.nonce_gap: n is below 0")
		}
	}
}

// literalOf returns a literal of a type.
func literalOf[T any](e ast.Expr) (value T, ok bool) {
	if e.Kind() == ast.LiteralKind {
		value, ok = e.AsLiteral().(T)
	}
	return value, ok
}

// constantAmount is the amount that amount(...) or units(...) makes of literals,
// or nil.
func (c *condition) constantAmount(e ast.Expr) *big.Int {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	for _, arg := range call.Args() {
		if arg.Kind() != ast.LiteralKind {
			return nil
		}
	}
	switch args := call.Args(); call.FunctionName() {
	case "amount":
		made, _ := toAmount(args[0].AsLiteral()).(amount)
		return made.n
	case "units":
		made, _ := unitsOf(&evaluation{set: c.set}, []ref.Val{args[0].AsLiteral(), args[1].AsLiteral()}).(amount)
		return made.n
	}
	return nil
}
