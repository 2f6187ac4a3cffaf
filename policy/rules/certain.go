package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
)

// total are the operators and functions that have a value for whatever arguments of
// their types there are. Counting is not among them: numbers end somewhere.
var total = append([]string{
	operators.LogicalNot, operators.LogicalAnd, operators.LogicalOr, operators.Conditional,
	operators.Equals, operators.NotEquals, operators.In,
	operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	overloads.Size, overloads.StartsWith, overloads.EndsWith, overloads.Contains,
	"listed", "labelled", "member", "amount_of", "amount_to",
	"history.sum", "history.count", "history.count_of", "history.sum_to", "history.count_to",
	"signal.first_use", "signal.lookalike", "signal.duplicate", "signal.listed", "signal.fee", "signal.gas",
	"signal.nonce_reused", "signal.nonce_replaces",
}, namesOf(timeFunctions())...)

func namesOf(list []Function) (out []string) {
	for _, f := range list {
		out = append(out, f.Name)
	}
	return out
}

// certain says that an expression has a value for every request of the rule's kinds: it
// is made of nothing but parts that are known never to fail.
func (c *condition) certain(e ast.Expr) bool {
	if c.failsItself(e) != "" || loose(c.ast.GetType(e.ID())) {
		return false
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.IdentKind:
		_, known := c.set.env.index[e.AsIdent()]
		return known
	case ast.ListKind:
		return c.allCertain(e.AsList().Elements())
	case ast.CallKind:
		_, number := c.number(e)
		_, text := c.constantText(e)
		return number || text || c.certainCall(e.AsCall())
	}
	return false
}

func (c *condition) allCertain(list []ast.Expr) bool {
	return !slices.ContainsFunc(list, func(e ast.Expr) bool { return !c.certain(e) })
}

func (c *condition) certainCall(call ast.CallExpr) bool {
	if !slices.Contains(total, call.FunctionName()) || !c.allCertain(call.Args()) {
		return false
	}
	if call.IsMemberFunction() {
		return c.certain(call.Target())
	}
	f := c.set.env.functions[call.FunctionName()]
	for i, arg := range call.Args() {
		if f != nil && !c.inForm(f.Args[i].Form, arg) {
			return false
		}
	}
	return true
}

// inForm says that a text is known to be an account or asset where a function takes
// nothing else.
func (c *condition) inForm(form Form, e ast.Expr) bool {
	_, constant := c.constantText(e)
	switch form {
	case Account:
		return constant || c.meaning(e) == accountName
	case AssetID:
		return constant
	}
	return true
}
