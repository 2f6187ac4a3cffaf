package rules

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// value is what a term may come to: a number (amounts, and times in nanoseconds), or a
// text; for what is true or false the text "true" or another.
type value struct {
	n *big.Int
	s string
}

// atom says something of one term, which is any expression, told from others by its
// text: in one evaluation the same text has the same value. A term that fails makes no
// atom true, and not false either.
type atom struct {
	term  string
	span  span
	bound []value         // of numbers: where the answer may change, some at least
	texts map[string]bool // of texts: where it does; not changed
	holds func(value) bool
}

// span is what a number can be, nil: without a bound.
type span struct{ least, most *big.Int }

// formula is a condition with every "not" taken down to its atoms.
type formula struct {
	all   bool // all of the parts, or one of them
	parts []formula
	atom  *atom
}

// formula reads an expression, or what it says the other way round.
func (c *condition) formula(e ast.Expr, positive bool) formula {
	if truth, ok := literalOf[types.Bool](e); ok {
		return formula{all: bool(truth) == positive}
	}
	if e.Kind() == ast.CallKind {
		call := e.AsCall()
		switch name := call.FunctionName(); name {
		case operators.LogicalNot:
			return c.formula(call.Args()[0], !positive)
		case operators.LogicalAnd, operators.LogicalOr:
			f := formula{all: (name == operators.LogicalAnd) == positive}
			for _, arg := range call.Args() {
				f.parts = append(f.parts, c.formula(arg, positive))
			}
			return f
		}
	}
	a := c.atom(e)
	if !positive {
		holds := a.holds
		a.holds = func(v value) bool { return !holds(v) }
	}
	return formula{atom: a}
}

// atom is what an expression says of a term that it compares with literals; else it is
// a term itself.
func (c *condition) atom(e ast.Expr) *atom {
	if e.Kind() == ast.CallKind {
		if a := c.compared(e.AsCall()); a != nil {
			return a
		}
	}
	return c.texts(e, "true")
}

// compared is nil where an expression compares no term with literals.
func (c *condition) compared(call ast.CallExpr) *atom {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		if a := c.beside(args[0], name, args[1]); a != nil {
			return a
		}
		return c.beside(args[1], mirrored(name), args[0])
	case operators.In:
		return c.oneOf(args[0], args[1])
	case "member":
		id, _ := stringLiteral(args[0])
		return textsOf(c.text(args[1]), c.set.book.groups[id])
	}
	return nil
}

// mirrored is the operator with its sides changed.
func mirrored(name string) string {
	for _, pair := range [][2]string{{operators.Less, operators.Greater}, {operators.LessEquals, operators.GreaterEquals}} {
		if i := slices.Index(pair[:], name); i >= 0 {
			return pair[1-i]
		}
	}
	return name
}

// beside is what "term operator literal" says.
func (c *condition) beside(term ast.Expr, name string, literal ast.Expr) *atom {
	if text, ok := c.constantText(literal); ok && c.is(term, types.StringKind) {
		a := c.texts(term, text)
		switch name {
		case operators.Equals:
			return a
		case operators.NotEquals:
			a.holds = func(v value) bool { return v.s != text }
			return a
		}
		return nil
	}
	n, ok := c.number(literal)
	if !ok || !c.numeric(term) {
		return nil
	}
	return c.numbers(term, func(v *big.Int) bool {
		switch d := v.Cmp(n); name {
		case operators.Equals:
			return d == 0
		case operators.NotEquals:
			return d != 0
		case operators.Less:
			return d < 0
		case operators.LessEquals:
			return d <= 0
		case operators.Greater:
			return d > 0
		default:
			return d >= 0
		}
	}, n)
}

// oneOf is what "term in [literals]" says.
func (c *condition) oneOf(term, list ast.Expr) *atom {
	if group, ok := stringLiteral(term); ok && list.Kind() == ast.IdentKind && list.AsIdent() == "user.groups" {
		return textsOf("user.id", c.set.book.groups[group])
	}
	if list.Kind() != ast.ListKind {
		return nil
	}
	var texts []string
	var numbers []*big.Int
	for _, element := range list.AsList().Elements() {
		if text, ok := c.constantText(element); ok {
			texts = append(texts, text)
		} else if n, ok := c.number(element); ok {
			numbers = append(numbers, n)
		} else {
			return nil
		}
	}
	switch {
	case c.is(term, types.StringKind) && len(numbers) == 0:
		return c.texts(term, texts...)
	case c.numeric(term) && len(texts) == 0:
		slices.SortFunc(numbers, (*big.Int).Cmp)
		return c.numbers(term, func(v *big.Int) bool {
			_, found := slices.BinarySearchFunc(numbers, v, (*big.Int).Cmp)
			return found
		}, numbers...)
	}
	return nil
}

func (c *condition) texts(term ast.Expr, texts ...string) *atom {
	set := make(map[string]bool, len(texts))
	for _, text := range texts {
		set[text] = true
	}
	return textsOf(c.text(term), set)
}

// textsOf says that a term is one of some texts.
func textsOf(term string, texts map[string]bool) *atom {
	return &atom{term: term, texts: texts, holds: func(v value) bool { return texts[v.s] }}
}

var one = big.NewInt(1)

// numbers says something of a term that changes at some numbers.
func (c *condition) numbers(term ast.Expr, holds func(*big.Int) bool, at ...*big.Int) *atom {
	a := &atom{term: c.text(term), span: c.span(term), holds: func(v value) bool { return holds(v.n) }}
	for _, n := range append(slices.Clone(at), a.span.least, a.span.most, new(big.Int)) {
		if n != nil {
			a.bound = append(a.bound, value{n: new(big.Int).Sub(n, one)}, value{n: n}, value{n: new(big.Int).Add(n, one)})
		}
	}
	return a
}

func (c *condition) is(e ast.Expr, kind types.Kind) bool { return c.ast.GetType(e.ID()).Kind() == kind }

// numeric says that an expression is a number, and no literal. Those with a point are
// not among them: between two there is always another, and one is none at all.
func (c *condition) numeric(e ast.Expr) bool {
	t := c.ast.GetType(e.ID())
	return t.IsExactType(amountType) ||
		slices.Contains([]types.Kind{types.IntKind, types.UintKind, types.DurationKind, types.TimestampKind}, t.Kind())
}

// span is what a number can be: of parts of a time, of what counts, and of its type.
func (c *condition) span(e ast.Expr) span {
	if _, within, ok := part(e); ok {
		return span{big.NewInt(int64(within[0])), big.NewInt(int64(within[1]))}
	}
	counts := e.Kind() == ast.CallKind && (e.AsCall().FunctionName() == overloads.Size || strings.HasPrefix(e.AsCall().FunctionName(), "history.count"))
	if counts || c.is(e, types.UintKind) || c.ast.GetType(e.ID()).IsExactType(amountType) {
		return span{least: new(big.Int)}
	}
	return span{}
}

// number reads a literal number, amount, time or length of time.
func (c *condition) number(e ast.Expr) (*big.Int, bool) {
	if e.Kind() == ast.LiteralKind && (c.is(e, types.IntKind) || c.is(e, types.UintKind)) {
		n, err := operand(e.AsLiteral())
		return n, err == nil
	}
	if n := c.constantAmount(e); n != nil {
		return n, true
	}
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 1 {
		return nil, false
	}
	text, _ := stringLiteral(e.AsCall().Args()[0])
	switch e.AsCall().FunctionName() {
	case overloads.TypeConvertDuration:
		d, err := time.ParseDuration(text)
		return big.NewInt(int64(d)), err == nil
	case overloads.TypeConvertTimestamp:
		t, err := time.Parse(time.RFC3339, text)
		n := new(big.Int).Mul(big.NewInt(t.Unix()), big.NewInt(int64(time.Second)))
		return n.Add(n, big.NewInt(int64(t.Nanosecond()))), err == nil
	}
	return nil, false
}

// constantText reads a literal text, or asset("...").
func (c *condition) constantText(e ast.Expr) (string, bool) {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "asset" {
		id, _ := stringLiteral(e.AsCall().Args()[0])
		if a := c.set.book.assets[id]; a != nil {
			return a.Asset, true
		}
	}
	return stringLiteral(e)
}
