package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// comparison refuses what CEL accepts and is never true, of ==, != and in: a text
// or number that no request has there, and a value of any type beside one that it
// never equals.
func (c *condition) comparison(e ast.Expr, call ast.CallExpr) {
	args := call.Args()
	for i, arg := range args {
		for _, literal := range c.literals(args[1-i]) {
			if text, ok := stringLiteral(literal); ok && !c.withoutChain(arg, text) {
				c.told(literal, c.meaning(arg), text)
			}
			c.calendar(arg, literal)
		}
	}
	c.unlike(e, call)
}

// withoutChain says that a text is the address of a contract that the condition names
// with its chain, too: the domain of typed data may name either.
func (c *condition) withoutChain(arg ast.Expr, text string) bool {
	return c.meaning(arg) == contractName && addressForm.MatchString(text) && slices.ContainsFunc(c.contracts(), func(other string) bool {
		return strings.HasSuffix(other, ":"+text)
	})
}

// contracts are the texts that the condition finds equal to the contract of a domain.
func (c *condition) contracts() (out []string) {
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !slices.Contains([]string{operators.Equals, operators.NotEquals, operators.In}, e.AsCall().FunctionName()) {
			return
		}
		args := e.AsCall().Args()
		for i, arg := range args {
			if c.meaning(arg) != contractName {
				continue
			}
			for _, literal := range c.literals(args[1-i]) {
				text, _ := stringLiteral(literal)
				out = append(out, text)
			}
		}
	}))
	return out
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
	c.unsure(c.set.book.unnamed(m, text))
}

func (c *condition) unsure(why string) {
	if why != "" && !slices.Contains(c.strange, why) {
		c.strange = append(c.strange, why)
	}
}

// spans are the least and the highest value of the parts of a time.
var spans = map[string][2]types.Int{
	"getMonth": {0, 11}, "getDate": {1, 31}, "getDayOfMonth": {0, 30}, "getDayOfWeek": {0, 6}, "getDayOfYear": {0, 365},
	"getHours": {0, 23}, "getMinutes": {0, 59}, "getSeconds": {0, 59},
}

// part returns the least and highest value of a part of a time.
func part(e ast.Expr) (name string, span [2]types.Int, ok bool) {
	if e.Kind() == ast.CallKind {
		name = e.AsCall().FunctionName()
		span, ok = spans[name]
	}
	return name, span, ok
}

// calendar refuses a number that a part of a time never is.
func (c *condition) calendar(e, literal ast.Expr) {
	name, span, ok := part(e)
	if n, number := literalOf[types.Int](literal); ok && number && (n < span[0] || n > span[1]) {
		c.fault(literal, "%d never matches: %s is %d to %d", n, name, span[0], span[1])
	}
}

// always refuses to put a part of a time in order with a number that is beyond all
// that it can be: then the one always stands before the other, or never. The end of
// a range may stand at the end of all values: hours from 18 on and below 24.
func (c *condition) always(e ast.Expr, call ast.CallExpr) {
	for i, arg := range call.Args() {
		name, span, ok := part(arg)
		n, number := literalOf[types.Int](call.Args()[1-i])
		if !ok || !number {
			continue
		}
		// a < b and its negation a >= b change between n-1 and n, the others
		// between n and n+1; with the sides changed, the other way round.
		limit := n
		strict := slices.Contains([]string{operators.Less, operators.GreaterEquals}, call.FunctionName())
		if strict == (i == 0) {
			limit--
		}
		least := slices.Contains([]string{operators.Greater, operators.GreaterEquals}, call.FunctionName()) == (i == 0)
		if least && limit == span[0]-1 || !least && limit == span[1] {
			continue
		}
		if limit < span[0] || limit >= span[1] {
			c.fault(e, "it is always the same beside %d: %s is %d to %d", n, name, span[0], span[1])
		}
	}
}

// order refuses to put values in order that may both be texts: numbers of typed
// data are, and "1000" stands before "500".
func (c *condition) order(e ast.Expr, call ast.CallExpr) {
	c.always(e, call)
	var known []*types.Type
	for _, arg := range call.Args() {
		if t := c.ast.GetType(arg.ID()); !loose(t) {
			known = append(known, t)
		}
	}
	if len(known) == 0 || len(known) == 1 && known[0].Kind() == types.StringKind {
		c.fault(e, "numbers may be texts here, and \"1000\" < \"500\": write amount(...) around both sides")
	}
}
