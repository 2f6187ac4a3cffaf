package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// comparison refuses what CEL accepts and is never true, of ==, != and in: a text
// or number that no request has there, and a value of any type, which may be an
// amount or a text, beside a number.
func (c *condition) comparison(e ast.Expr, args []ast.Expr) {
	for i, arg := range args {
		other := args[1-i]
		for _, literal := range literals(other) {
			if text, ok := stringLiteral(literal); ok {
				c.told(literal, c.meaning(arg), text)
			}
			c.calendar(arg, literal)
		}
		if loose(c.ast.GetType(arg.ID())) && c.numeric(other) {
			c.fault(e, "the type of one side is not known: write amount(...) or int(...) around it")
		}
	}
}

// told checks a text that stands where others have a meaning.
func (c *condition) told(literal ast.Expr, m meaning, text string) {
	if why := c.set.book.never(m, text); why != "" {
		c.fault(literal, "%s", why)
	}
	c.known(m, text)
}

// known keeps a text that the document does not know for a warning.
func (c *condition) known(m meaning, text string) {
	if why := c.set.book.unnamed(m, text); why != "" && !slices.Contains(c.strange, why) {
		c.strange = append(c.strange, why)
	}
}

// spans are the least and the highest value of the parts of a time.
var spans = map[string][2]types.Int{
	"getMonth": {0, 11}, "getDate": {1, 31}, "getDayOfMonth": {0, 30}, "getDayOfWeek": {0, 6}, "getDayOfYear": {0, 365},
	"getHours": {0, 23}, "getMinutes": {0, 59}, "getSeconds": {0, 59},
}

// calendar refuses a number that a part of a time never is.
func (c *condition) calendar(part, literal ast.Expr) {
	if part.Kind() != ast.CallKind || literal.Kind() != ast.LiteralKind {
		return
	}
	name := part.AsCall().FunctionName()
	span, ok := spans[name]
	if n, number := literal.AsLiteral().(types.Int); ok && number && (n < span[0] || n > span[1]) {
		c.fault(literal, "%d never matches: %s is %d to %d", n, name, span[0], span[1])
	}
}

// order refuses to put values in order that may both be texts: numbers of typed
// data are, and "1000" stands before "500".
func (c *condition) order(e ast.Expr, args []ast.Expr) {
	var known []*types.Type
	for _, arg := range args {
		if t := c.ast.GetType(arg.ID()); !loose(t) {
			known = append(known, t)
		}
	}
	if len(known) == 0 || len(known) == 1 && known[0].Kind() == types.StringKind {
		c.fault(e, "numbers may be texts here, and \"1000\" < \"500\": write amount(...) around both sides")
	}
}

// literals are the elements of a list that stands in the condition, or else the
// expression itself.
func literals(e ast.Expr) []ast.Expr {
	if e.Kind() != ast.ListKind {
		return []ast.Expr{e}
	}
	var out []ast.Expr
	for _, element := range e.AsList().Elements() {
		out = append(out, literals(element)...)
	}
	return out
}

// loose says whether a value's type, or that of something in it, shows only when
// it is read.
func loose(t *types.Type) bool {
	return t.Kind() == types.DynKind || t.Kind() != types.TypeKind && slices.ContainsFunc(t.Parameters(), loose)
}

// numeric says whether a value is a number of CEL's own, or has one in it.
func (c *condition) numeric(e ast.Expr) bool {
	return slices.ContainsFunc(literals(e), func(e ast.Expr) bool { return ofNumbers(c.ast.GetType(e.ID())) })
}

func ofNumbers(t *types.Type) bool {
	switch t.Kind() {
	case types.IntKind, types.UintKind, types.DoubleKind:
		return true
	}
	return slices.ContainsFunc(t.Parameters(), ofNumbers)
}
