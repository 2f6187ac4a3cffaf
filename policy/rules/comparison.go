package rules

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/countersign/countersign/internal/message"
)

// comparison refuses what CEL accepts and is never true, of ==, != and in: a kind
// that there is not, a value of any type, which may be an amount or a text, beside
// a number, and selectors and addresses that are not in lower case.
func (c *condition) comparison(e ast.Expr, args []ast.Expr) {
	for i, arg := range args {
		other := args[1-i]
		for _, literal := range literals(other) {
			if text, ok := stringLiteral(literal); ok {
				c.compared(arg, literal, text)
			}
		}
		if loose(c.ast.GetType(arg.ID())) && c.numeric(other) {
			c.fault(e, "the type of one side is not known: write amount(...) or int(...) around it")
		}
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

// compared checks a text that something is compared with.
func (c *condition) compared(with, literal ast.Expr, text string) {
	switch variable := with.Kind() == ast.IdentKind; {
	case variable && with.AsIdent() == "request.kind":
		if !slices.Contains(allKinds(), message.Kind(text)) {
			c.fault(literal, "there is no kind %q", bounded(text))
		}
	case variable && with.AsIdent() == "tx.message":
	case mixed.MatchString(text) && text != strings.ToLower(text):
		c.fault(literal, "%q never matches: selectors and addresses are in lower case", text)
	}
}

// mixed are selectors and addresses, in any case.
var mixed = regexp.MustCompile(`^0[xX](?:[0-9a-fA-F]{8}|[0-9a-fA-F]{40})$`)

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
