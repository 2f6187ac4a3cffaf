package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// leavesOut finds a limit for a sum of the past that does not count the request: a rule
// that denies or asks above it, or one that allows below it. One payment of any size
// passes, as far as the rule goes. A condition that looks at amounts of the request itself
// is taken to mean it, and so is a limit of zero or one base unit, which asks whether there
// was anything. Requests of other kinds than those that are signed have no amounts.
func (c *condition) leavesOut() (sum string) {
	if c.signsNothing() || c.looksAtAmounts() {
		return ""
	}
	c.limits(c.ast.Expr(), c.rule.Effect != document.EffectAllow, func(name string) { sum = name })
	return sum
}

// signsNothing says that the rule is about no kind that has amounts.
func (c *condition) signsNothing() bool {
	signed := func(k message.Kind) bool { return slices.Contains(kindsOf(OfSigned), k) }
	return len(c.rule.Kinds) > 0 && !slices.ContainsFunc(c.rule.Kinds, signed)
}

// ofRequest are the functions, variables and fields that tell how much a request moves,
// or may.
var ofRequest = []string{"amount_of", "amount_to", "tx.value", "tx.cost", "typed.message", ".amount", ".value", ".args", ".unlimited"}

func (c *condition) looksAtAmounts() (found bool) {
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name := ""
		switch e.Kind() {
		case ast.IdentKind:
			name = e.AsIdent()
		case ast.SelectKind:
			name = "." + e.AsSelect().FieldName()
		case ast.CallKind:
			name = e.AsCall().FunctionName()
		}
		found = found || slices.Contains(ofRequest, name)
	}))
	return found
}

// limits tells of comparisons by which a condition is true where a sum is high, or (not
// high) low: what stands under "not" counts the other way round.
func (c *condition) limits(e ast.Expr, high bool, tell func(string)) {
	if e.Kind() != ast.CallKind {
		return
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		c.limits(args[0], high, tell)
		c.limits(args[1], high, tell)
	case operators.LogicalNot:
		c.limits(args[0], !high, tell)
	case operators.Greater, operators.GreaterEquals:
		c.limit(args[0], args[1], high, tell)
		c.limit(args[1], args[0], !high, tell)
	case operators.Less, operators.LessEquals:
		c.limit(args[0], args[1], !high, tell)
		c.limit(args[1], args[0], high, tell)
	}
}

func (c *condition) limit(sum, bound ast.Expr, high bool, tell func(string)) {
	if most, ok := c.number(bound); !high || !ok || most.Cmp(one) <= 0 || sum.Kind() != ast.CallKind {
		return
	}
	call := sum.AsCall()
	switch name := call.FunctionName(); {
	case strings.HasPrefix(name, "history.sum"):
		tell(name)
	case name == operators.Add || name == operators.Multiply:
		c.limit(call.Args()[0], bound, high, tell)
		c.limit(call.Args()[1], bound, high, tell)
	}
}
